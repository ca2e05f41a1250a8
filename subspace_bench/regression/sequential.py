"""A sequential rank test: a few new numbers first, more only where in doubt.

At look k, n_k new numbers are held against the n₀ of a reference by the exact Wilcoxon-Mann-Whitney
test (Mann and Whitney, "On a test of whether one of two random variables is stochastically larger
than the other", 1947; `scipy.stats.mannwhitneyu`). Its two-sided p is compared with one constant p*
at every look, which pays for the looks as Pocock's boundary does (Jennison and Turnbull, "Group
Sequential Methods", 2000, section 2.4).

Only ranks enter, so the false-alarm rate holds for numbers of any distribution, and accuracies are
not normal: Student's test in its place gives exponential numbers three times the alarms that it
states, and more (a test shows it). Ending early because nothing is in doubt only lowers the rate;
what that costs in power is in `power`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

WITHIN, MOVED, IN_DOUBT = "within", "moved", "in doubt"
STAGES = (2, 4, 8, 16)  # new numbers at each look
FUTILITY_P = (0.9, 0.5, 0.3)  # p values above which a look, but the last, ends the test
BOUNDARY_DRAWS, POWER_DRAWS = 400_000, 20_000


@dataclass(frozen=True)
class Decision:
    """What a look says.

    Attributes:
        verdict: "within", "moved" or, where the next look is to decide, "in doubt".
        difference: mean of the new numbers − mean of the reference.
        p: two-sided, of this look alone; "moved" where it is at most the design's boundary.
        up: whether the new numbers rank above the reference's; one outlier can turn the means.
        needed: new numbers that the next look takes; 0 where the verdict is final.
    """

    verdict: str
    difference: float
    p: float
    up: bool
    needed: int = 0


@dataclass(frozen=True)
class Design:
    """A test of one quantity, among `family` that are tested together.

    Attributes:
        alpha: probability that any of the family is called moved though none has, over references
            and new numbers alike.
        family: how many quantities share alpha (Bonferroni, which needs no independence).
        reference: n₀, numbers in the reference.
        stages: new numbers at each look, growing.
        futility_p: p values above which the looks before the last end the test.
    """

    alpha: float = 0.01
    family: int = 1
    reference: int = 40
    stages: tuple[int, ...] = STAGES
    futility_p: tuple[float, ...] = FUTILITY_P

    @property
    def critical_p(self) -> float:
        """p*: a look whose p value is at most this says "moved"."""
        return _critical_p(self.alpha / self.family, self.reference, self.stages)

    def judge(self, reference: Sequence[float], new: Sequence[float]) -> Decision:
        """What the new numbers say so far.

        Raises:
            ValueError: where `new` has another length than one of `stages`.
        """
        at = self.stages.index(len(new))
        difference = math.fsum(new) / len(new) - math.fsum(reference) / len(reference)
        p = p_value(reference, new)
        up = bool(smaller(reference, new).mean() > len(reference) / 2)
        if p <= self.critical_p:
            return Decision(MOVED, difference, p, up)
        if at + 1 == len(self.stages) or p > self.futility_p[at]:
            return Decision(WITHIN, difference, p, up)
        return Decision(IN_DOUBT, difference, p, up, self.stages[at + 1])

    def power(self, shift: float) -> float:
        """Probability of "moved" where normal numbers have moved by `shift` estimated sd's.

        The sd is the reference's own, as a user sees it: that it is an estimate counts.
        """
        return float(self.moved(_shifted(shift, self.reference, self.stages[-1])).mean())

    def moved(self, pairs: np.ndarray) -> np.ndarray:
        """What `judge` ends in, look after look, for many tests at once: (draws,) of "moved".

        Arguments:
            pairs: (draws, n) of pairs whose reference number is the smaller one, ties half, after
                each of the n = `stages[-1]` new numbers.
        """
        found, open_ = np.zeros(len(pairs), bool), np.ones(len(pairs), bool)
        for n, clear in zip(self.stages, (*self.futility_p, 0.0), strict=True):
            p = _p_of(pairs[:, n - 1], self.reference, n)
            found |= open_ & (p <= self.critical_p)
            open_ &= ~found & (p <= clear)
        return found

    def minimum_detectable_effect(self, power: float = 0.95) -> float:
        """The shift, in estimated standard deviations, that is found with this probability."""
        return _minimum_detectable_effect(self, power)


def p_value(reference: Sequence[float], new: Sequence[float]) -> float:
    """Two-sided and exact, by Mann and Whitney; ties count half, rounded to the safe side."""
    return float(_p_of(smaller(reference, new).sum(), len(reference), len(new)))


def smaller(reference: Sequence[float], new: Sequence[float]) -> np.ndarray:
    """(n,) of the reference's numbers that are smaller than each new one; ties count half."""
    old = np.sort(reference)
    below, not_above = (np.searchsorted(old, new, side) for side in ("left", "right"))
    counts: np.ndarray = (below + not_above) / 2
    return counts


def _p_of(pairs: np.ndarray, reference: int, new: int) -> np.ndarray:
    """p of counts of pairs whose reference number is the smaller one; halves to the safe side."""
    rarer = np.ceil(np.minimum(pairs, reference * new - pairs)).astype(int)
    found: np.ndarray = p_values(reference, new)[rarer]
    return found


@functools.cache
def p_values(reference: int, new: int) -> np.ndarray:
    """p of every count U = 0 … n₀·n of pairs whose reference number is the smaller one."""
    pairs = np.arange(reference * new + 1)[:, None]
    # Each new number is above as many of the reference's as are left to make up U.
    above = np.clip(pairs - reference * np.arange(new), 0, reference)
    old = np.broadcast_to(np.arange(float(reference)), (len(pairs), reference))
    test = stats.mannwhitneyu(above - 0.5, old, method="exact", axis=1)
    return np.asarray(test.pvalue)


@functools.cache
def _critical_p(alpha: float, reference: int, looks: tuple[int, ...]) -> float:
    """The largest p* at which the looks together have a false-alarm rate of at most alpha.

    The ranks of new numbers in a reference from the same distribution, whatever it is, follow
    Pólya's urn. Drawn from it often enough to be sure of alpha to two standard errors.
    """
    draw, n = np.random.default_rng(0), BOUNDARY_DRAWS
    below = np.empty((looks[-1], n), np.int32)  # the reference's numbers below each new one
    for i in range(looks[-1]):
        ball = draw.integers(reference + 1 + i, size=n)
        earlier = ball < i  # a gap of the reference counts once more for each number in it
        below[i] = np.where(earlier, below[np.minimum(ball, max(i - 1, 0)), np.arange(n)], ball - i)
    pairs = below.cumsum(0)
    smallest = np.min([p_values(reference, k)[pairs[k - 1]] for k in looks], axis=0)
    values, counts = np.unique(smallest, return_counts=True)
    allowed = np.cumsum(counts) / n <= alpha - 2 * math.sqrt(alpha / n)
    return float(values[allowed][-1]) if allowed.any() else 0.0


@functools.lru_cache(maxsize=1)
def _normal(reference: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """References, sorted (draws, n₀), their sd's (draws, 1) and new numbers (draws, n)."""
    draw = np.random.default_rng(1)
    old = np.sort(draw.standard_normal((POWER_DRAWS, reference), np.float32), axis=1)
    return old, old.std(1, ddof=1, keepdims=True), draw.standard_normal((POWER_DRAWS, new))


def _shifted(shift: float, reference: int, new: int) -> np.ndarray:
    """(draws, n) of U after each new number, all of them shifted."""
    old, sd, z = _normal(reference, new)
    moved = z + shift * sd
    below = [(old < moved[:, i : i + 1]).sum(1) for i in range(new)]
    return np.cumsum(below, axis=0).T


@functools.cache
def _minimum_detectable_effect(design: Design, power: float) -> float:
    return float(optimize.brentq(lambda s: design.power(s) - power, 0.0, 50.0, xtol=1e-3))
