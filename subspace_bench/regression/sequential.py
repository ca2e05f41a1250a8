"""A group-sequential two-sample t test: a few new numbers first, more only where in doubt.

At look k the mean of n_k new numbers is held against n₀ of a reference. Two-sided p values of
Student's two-sample t are compared with one constant p* at every look, which pays for the looks:
Pocock's boundary, with the significance-level approach for unknown variance (Jennison and Turnbull,
"Group Sequential Methods", 2000, sections 2.4 and 3.8). p* comes from the joint normal distribution
of the looks' statistics (`scipy.stats.multivariate_normal`). Ending early because nothing is in
doubt only lowers the false-alarm rate; what it costs in power is in `power`.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

WITHIN, MOVED, IN_DOUBT = "within", "moved", "in doubt"
LOOKS = (2, 4, 8, 12)  # new numbers at each look
CLEAR = 0.55  # a p value above which nothing is in doubt


@dataclass(frozen=True)
class Decision:
    """What a look says.

    Attributes:
        verdict: "within", "moved" or, where the next look is to decide, "in doubt".
        difference: mean of the new numbers − mean of the reference.
        p: two-sided, of this look alone.
        needed: new numbers that the next look takes; 0 where the verdict is final.
    """

    verdict: str
    difference: float
    p: float
    needed: int = 0


@dataclass(frozen=True)
class Design:
    """A test of one quantity, among `family` that are tested together.

    Attributes:
        alpha: probability that any of the family is called moved though none has.
        family: how many quantities share alpha (Bonferroni, which needs no independence).
        reference: n₀, numbers in the reference.
        looks: new numbers at each look, growing.
        clear: the p value above which a look ends the test.
    """

    alpha: float = 0.01
    family: int = 1
    reference: int = 40
    looks: tuple[int, ...] = LOOKS
    clear: float = CLEAR

    @property
    def boundary(self) -> float:
        """p*: a look whose p value is below it says "moved"."""
        return _boundary(self.alpha / self.family, self.reference, self.looks)

    def judge(self, reference: Sequence[float], new: Sequence[float]) -> Decision:
        """What the new numbers say so far.

        Raises:
            ValueError: where `new` has another length than one of `looks`.
        """
        at = self.looks.index(len(new))
        difference, p = compare(reference, new)
        if p < self.boundary:
            return Decision(MOVED, difference, p)
        if p > self.clear or at + 1 == len(self.looks):
            return Decision(WITHIN, difference, p)
        return Decision(IN_DOUBT, difference, p, self.looks[at + 1])

    def power(self, shift: float) -> float:
        """Probability of "moved" where the mean has moved by `shift` standard deviations."""
        return _power(shift, self.boundary, self.clear, self.reference, self.looks)

    def smallest(self, power: float = 0.95) -> float:
        """The shift, in standard deviations, that is found with this probability."""
        return float(optimize.brentq(lambda s: self.power(s) - power, 0.0, 50.0, xtol=1e-3))


def compare(reference: Sequence[float], new: Sequence[float]) -> tuple[float, float]:
    """(difference of means, two-sided p) of Student's two-sample t test.

    Numbers that are all equal on both sides have p = 1; a difference without any spread has p = 0.
    """
    a, b = np.asarray(reference, float), np.asarray(new, float)
    difference = float(b.mean() - a.mean())
    squares = ((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum()
    freedom = len(a) + len(b) - 2
    error = math.sqrt(squares / freedom * (1 / len(a) + 1 / len(b)))
    if error == 0:
        return difference, 1.0 if difference == 0 else 0.0
    return difference, float(2 * stats.t.sf(abs(difference) / error, freedom))


def _covariance(reference: int, looks: tuple[int, ...]) -> np.ndarray:
    """Of the looks' z statistics, which share the reference and the earlier new numbers."""
    information = 1 / (1 / np.array(looks) + 1 / reference)
    smaller, larger = (f.outer(information, information) for f in (np.minimum, np.maximum))
    return np.asarray(np.sqrt(smaller / larger))


def _box(low: np.ndarray, high: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> float:
    """Probability of a normal vector between low and high."""
    return float(
        stats.multivariate_normal.cdf(
            high, mean, covariance, lower_limit=low, maxpts=20_000 * len(mean), abseps=1e-7,
            releps=1e-6, rng=np.random.default_rng(0),
        )
    )  # fmt: skip


@functools.cache
def _boundary(alpha: float, reference: int, looks: tuple[int, ...]) -> float:
    """The constant p* at which k looks together have false-alarm rate alpha."""
    covariance, mean = _covariance(reference, looks), np.zeros(len(looks))

    def excess(z: float) -> float:
        edge = np.full(len(looks), z)
        return 1 - _box(-edge, edge, mean, covariance) - alpha

    low = float(stats.norm.isf(alpha / 2))  # one look
    high = float(stats.norm.isf(alpha / 2 / len(looks)))  # looks that share nothing
    z = low if len(looks) == 1 else optimize.brentq(excess, low, high, xtol=1e-4)
    return float(2 * stats.norm.sf(z))


@functools.cache
def _power(
    shift: float, boundary: float, clear: float, reference: int, looks: tuple[int, ...]
) -> float:
    """Probability of a look below the boundary before one is clear.

    The estimated variance counts through Student's quantiles; its own spread, with some 40 degrees
    of freedom, is left out.
    """
    freedom = np.array(looks) + reference - 2
    outer, inner = (np.asarray(stats.t.isf(p / 2, freedom)) for p in (boundary, clear))
    information = 1 / (1 / np.array(looks) + 1 / reference)
    mean, covariance = shift * np.sqrt(information), _covariance(reference, looks)
    doubt = [((-o, -i), (i, o)) for o, i in zip(outer, inner, strict=True)]
    moved = [((-np.inf, -o), (o, np.inf)) for o in outer]
    total = 0.0
    for k in range(1, len(looks) + 1):
        for path in itertools.product(*doubt[: k - 1], moved[k - 1]):
            low, high = (np.array(ends) for ends in zip(*path, strict=True))
            total += _box(low, high, mean[:k], covariance[:k, :k])
    return total
