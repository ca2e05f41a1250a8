"""A sequential rank test: a few new values first, more only while the verdict is inconclusive.

At stage k, n_k new values are compared with the n₀ values of a reference distribution by the exact
Wilcoxon-Mann-Whitney test (rank_test.py). Its two-sided p-value is compared with the same critical
value p* at every stage, which accounts for the repeated testing as Pocock's boundary does (Jennison
and Turnbull, "Group Sequential Methods", 2000, section 2.4).

The test uses only ranks, so its false-positive rate is valid for any distribution. That matters
because accuracies are not normal: with exponential values, Student's t-test of two new values has
three times its nominal false-positive rate of 0.2%. Stopping for futility can only lower the rate;
`power` includes its cost.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from subspace_bench.regression.rank_test import count_below, p_of, p_value, p_values

NO_CHANGE, CHANGED, INCONCLUSIVE = "no change found", "changed", "inconclusive"
STAGES = (2, 4, 8, 16)  # total number of new values at each stage
FUTILITY_P = (0.9, 0.5, 0.3)  # a stage (except the last) ends the test if p exceeds its bound
CRITICAL_DRAWS, POWER_DRAWS = 400_000, 20_000
REFERENCES, TESTS = 80, 100  # drawn to find minimum detectable effects; tests of each reference
SURE = 0.95  # the share of these references against which the power must be reached
OUTLIERS = 0.01  # the share of new values that lie beyond all of the reference's


@dataclass(frozen=True)
class Decision:
    """The result of one stage.

    Attributes:
        verdict: "changed", "no change found" or, if another stage follows, "inconclusive".
        difference: mean of the new values − mean of the reference.
        p: two-sided p-value of this stage alone; at most `Design.critical_p` if "changed".
        up: whether the new values rank above the reference. The difference of the means may have
            the other sign, because of an outlier.
    """

    verdict: str
    difference: float
    p: float
    up: bool


@dataclass(frozen=True)
class Design:
    """The test of one quantity out of a family of `family`.

    Attributes:
        alpha: false-positive rate of the whole family, over both references and new values.
        family: number of quantities that share alpha (Bonferroni; independence is not needed).
        reference: n₀, the number of values in the reference.
        stages: new values, in total, at each stage; increasing.
        futility_p: futility bounds, one for each stage but the last.
    """

    alpha: float = 0.01
    family: int = 1
    reference: int = 40
    stages: tuple[int, ...] = STAGES
    futility_p: tuple[float, ...] = FUTILITY_P

    @property
    def critical_p(self) -> float:
        """p*, the critical value: a stage with p ≤ p* ends in "changed". 0 if none is possible."""
        return _critical_p(self.alpha / self.family, self.reference, self.stages)

    def judge(self, reference: Sequence[float], new: Sequence[float]) -> Decision:
        """The decision at the stage with len(new) values.

        Raises:
            ValueError: if no stage has that many.
        """
        stage = self.stages.index(len(new))
        difference = math.fsum(new) / len(new) - math.fsum(reference) / len(reference)
        p = p_value(reference, new)
        up = bool(count_below(reference, new).mean() > len(reference) / 2)
        if p <= self.critical_p:
            return Decision(CHANGED, difference, p, up)
        if stage + 1 == len(self.stages) or p > self.futility_p[stage]:
            return Decision(NO_CHANGE, difference, p, up)
        return Decision(INCONCLUSIVE, difference, p, up)

    def power(self, shift: float) -> float:
        """Probability of "changed" for normal values shifted by `shift` estimated sd's.

        The sd is estimated from the reference, as a user does; its error is taken into account.
        """
        return float(self.judge_many(_shifted(shift, self.reference, self.stages[-1])).mean())

    def judge_many(self, u: np.ndarray) -> np.ndarray:
        """(draws,) of whether the final verdict is "changed"; `judge` for many tests at once.

        Arguments:
            u: (draws, n), Mann and Whitney's U after each of the n = `stages[-1]` new values: the
                number of (reference, new) pairs in which the reference is smaller, ties half.
        """
        changed, running = np.zeros(len(u), bool), np.ones(len(u), bool)
        for n, futility_p in zip(self.stages, (*self.futility_p, 0.0), strict=True):
            p = p_of(u[:, n - 1], self.reference, n)
            changed |= running & (p <= self.critical_p)
            running &= ~changed & (p <= futility_p)
        return changed

    def minimum_detectable_effect(self, power: float = 0.95) -> float:
        """The shift of normal values, in estimated sd's, that is detected with this probability."""
        return _minimum_detectable_effect(self, power)

    def minimum_detectable_effects(
        self, reference: Sequence[float], power: float = 0.95
    ) -> tuple[float, float]:
        """The drop and the rise, in the unit of the values, detected with this probability.

        Values are distributed as the reference's. Accuracies have a long lower tail, so a rise must
        be larger than a drop. As this reference is one of many that could have been drawn, the
        probability is reached against SURE of references drawn from its values; and OUTLIERS of the
        new values lie beyond them all, on the side that hides the shift. Twice the range of the
        values where no smaller shift will do.
        """
        values = tuple(reference)
        return _effect(self, values, -1, power), _effect(self, values, 1, power)


@functools.cache
def _critical_p(alpha: float, reference: int, stages: tuple[int, ...]) -> float:
    """The largest p* for which all stages together have a false-positive rate of at most alpha.

    The ranks of new values among a reference from the same distribution follow Pólya's urn,
    whatever the distribution. The rate is simulated from the urn, and p* keeps two standard errors
    of it below alpha.
    """
    rng, n = np.random.default_rng(0), CRITICAL_DRAWS
    below = np.empty((stages[-1], n), np.int32)  # reference values below each new one
    for i in range(stages[-1]):
        ball = rng.integers(reference + 1 + i, size=n)
        earlier = ball < i  # an earlier new value's ball: falls into the same gap of the reference
        below[i] = np.where(earlier, below[np.minimum(ball, max(i - 1, 0)), np.arange(n)], ball - i)
    u = below.cumsum(0)
    smallest = np.min([p_values(reference, k)[u[k - 1]] for k in stages], axis=0)
    values, counts = np.unique(smallest, return_counts=True)
    allowed = np.cumsum(counts) / n <= alpha - 2 * math.sqrt(alpha / n)
    return float(values[allowed][-1]) if allowed.any() else 0.0


@functools.lru_cache(maxsize=1)
def _normal(reference: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sorted references (draws, n₀), their sd's (draws, 1) and new values (draws, n)."""
    rng = np.random.default_rng(1)
    old = np.sort(rng.standard_normal((POWER_DRAWS, reference), np.float32), axis=1)
    return old, old.std(1, ddof=1, keepdims=True), rng.standard_normal((POWER_DRAWS, new))


def _shifted(shift: float, reference: int, new: int) -> np.ndarray:
    """(draws, n) of U after each new value, all new values shifted."""
    old, sd, z = _normal(reference, new)
    shifted = z + shift * sd
    below = [(old < shifted[:, i : i + 1]).sum(1) for i in range(new)]
    return np.cumsum(below, axis=0).T


@functools.lru_cache(maxsize=100)
def _effect(design: Design, values: tuple[float, ...], sign: int, power: float) -> float:
    """The smallest such shift in one direction, by bisection."""
    rng, pool = np.random.default_rng(2), np.sort(values)
    old = np.sort(rng.choice(pool, (REFERENCES, design.reference)), axis=1)
    new = rng.choice(pool, (REFERENCES, TESTS, design.stages[-1]))
    # A reference of 100 values often lacks the rarest outliers, which hide a shift.
    new[rng.random(new.shape) < OUTLIERS] = -sign * math.inf

    def detected(shift: float) -> bool:
        below = [
            np.searchsorted(a, b + sign * shift, "left")
            + np.searchsorted(a, b + sign * shift, "right")
            for a, b in zip(old, new, strict=True)
        ]
        u = np.concatenate(below).cumsum(1) / 2
        shares = design.judge_many(u).reshape(REFERENCES, TESTS).mean(1)
        return bool(np.quantile(shares, 1 - SURE) >= power)

    low, high = 0.0, 2 * float(pool[-1] - pool[0])
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (low, middle) if detected(middle) else (middle, high)
    return high


@functools.cache
def _minimum_detectable_effect(design: Design, power: float) -> float:
    return float(optimize.brentq(lambda s: design.power(s) - power, 0.0, 50.0, xtol=1e-3))
