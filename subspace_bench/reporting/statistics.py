"""How many seeds say what: means, intervals, and verdicts on published numbers.

Accuracies are in %, differences in points. Intervals of means are Student's t, of shares Clopper
and Pearson's, from `scipy.stats`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95
FEWEST = 5  # seeds for a verdict
WIDEST = 1.0  # points: half-width of the mean's interval at which a verdict is still given

REPRODUCES, DOES_NOT, TOO_FEW = "reproduces", "does not", "too few seeds"
HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "not decidable yet"


@dataclass(frozen=True)
class Interval:
    """A closed interval."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def overlaps(self, other: Interval) -> bool:
        return self.low <= other.high and other.low <= self.high

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Sample:
    """Accuracies of n seeds."""

    values: tuple[float, ...]

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float:
        return math.fsum(self.values) / self.n if self.n else math.nan

    @property
    def sd(self) -> float:
        """Standard deviation over seeds (n − 1); NaN for fewer than two."""
        if self.n < 2:
            return math.nan
        return math.sqrt(math.fsum((x - self.mean) ** 2 for x in self.values) / (self.n - 1))

    def confidence(self, looks: int = 1) -> Interval | None:
        """Where the mean over all seeds lies, with 95% confidence; None for n < 2.

        Arguments:
            looks: how many means share the 95% (Bonferroni).
        """
        if self.n < 2:
            return None
        half = quantile(self.n - 1, looks) * self.sd / math.sqrt(self.n)
        return Interval(self.mean - half, self.mean + half)

    def prediction(self, extra_sd: float = 0.0, rounding: float = 0.0) -> Interval | None:
        """Where one more run lies, with 95% probability, as somebody else would report it.

        Arguments:
            extra_sd: of the other's own test sampling.
            rounding: the unit of the last printed digit; half of it is added at both ends.
        """
        if self.n < 2:
            return None
        own = self.sd**2 * (1 + 1 / self.n)
        total = own + extra_sd**2
        # Welch-Satterthwaite: the other's sampling is known, only our spread is estimated.
        freedom = (self.n - 1) * (total / own) ** 2 if own else math.inf
        half = quantile(freedom) * math.sqrt(total) + rounding / 2
        return Interval(self.mean - half, self.mean + half)

    def show(self, looks: int = 1) -> str:
        """Mean ± half-width of its interval (n), as every table prints it."""
        if not self.n:
            return "not run"
        interval = self.confidence(looks)
        if interval is None:
            return f"{self.mean:.2f} (n = 1)"
        return f"{self.mean:.2f} ± {interval.half_width:.2f} (n = {self.n})"


def quantile(freedom: float, looks: int = 1) -> float:
    """The two-sided 95% point of Student's t, for `looks` intervals together."""
    return float(stats.t.isf((1 - LEVEL) / 2 / looks, freedom))


def binomial_sd(accuracy: float, draws: int) -> float:
    """Standard deviation, in points, of an accuracy taken over random draws of test images."""
    p = min(max(accuracy / 100, 0.0), 1.0)
    return 100 * math.sqrt(p * (1 - p) / draws)


@dataclass(frozen=True)
class Published:
    """A number somebody else printed.

    Attributes:
        value: in %; of a range, its ends' mean.
        rounding: unit of the last digit, or twice the reading error of a figure.
        draws: test images drawn at random for it, or None where all were scored.
        range: for a published range such as "98-99%".
    """

    value: float
    rounding: float
    draws: int | None = None
    range: Interval | None = None


def verdict(sample: Sample, published: Published, dim: int | None = None) -> str:
    """Whether a published number reproduces; "" where one run or none can say nothing.

    A single number reproduces inside the 95% prediction interval for one more run, widened by its
    rounding and its own test sampling; a range does by overlap with that interval. Below five
    seeds, or where the mean is known to worse than a point at d ≥ 300, seeds are too few to tell.
    """
    if sample.n < 2:
        return ""
    known = sample.confidence()
    assert known is not None
    vague = known.half_width > WIDEST and (dim is None or dim >= 300)
    if sample.n < FEWEST or vague:
        return TOO_FEW
    extra = binomial_sd(sample.mean, published.draws) if published.draws else 0.0
    expected = sample.prediction(extra, published.rounding)
    assert expected is not None
    if published.range is not None:
        return REPRODUCES if expected.overlaps(published.range) else DOES_NOT
    return REPRODUCES if published.value in expected else DOES_NOT


def difference(a: Sample, b: Sample, looks: int = 1) -> Interval | None:
    """Mean of a − mean of b, with 95% confidence (Welch); None where either has fewer than two.

    Arguments:
        looks: how many differences share the 95% (Bonferroni).
    """
    if a.n < 2 or b.n < 2:
        return None
    va, vb = a.sd**2 / a.n, b.sd**2 / b.n
    middle = a.mean - b.mean
    if va + vb == 0:
        return Interval(middle, middle)
    freedom = (va + vb) ** 2 / (va**2 / (a.n - 1) + vb**2 / (b.n - 1))
    half = quantile(freedom, looks) * math.sqrt(va + vb)
    return Interval(middle - half, middle + half)


def tukey_hsd(samples: Mapping[str, Sample]) -> tuple[list[tuple[str, str]], float]:
    """Which means differ, with 95% confidence for all pairs together: Tukey's HSD (Kramer, 1956).

    One spread is taken to be common to all, which three seeds each could not tell alone.

    Returns:
        (name of the higher, name of the lower) of each pair that differs, and how many points apart
        means must be for it, those of the fewest seeds where numbers of seeds differ; no pair and
        NaN for fewer than two samples of two seeds or more.
    """
    known = {name: sample.values for name, sample in samples.items() if sample.n > 1}
    if len(known) < 2:
        return [], math.nan
    interval = stats.tukey_hsd(*known.values()).confidence_interval(LEVEL)
    low, high = np.asarray(interval.low), np.asarray(interval.high)
    pairs = [
        (higher, lower)
        for i, higher in enumerate(known)
        for j, lower in enumerate(known)
        if low[i, j] > 0
    ]
    return pairs, float((high - low).max() / 2)


def at_least(interval: Interval | None, threshold: float) -> str:
    """Whether what the interval brackets is at least the threshold."""
    if interval is None:
        return UNDECIDED
    if interval.low >= threshold:
        return HOLDS
    return FAILS if interval.high < threshold else UNDECIDED


def at_most(interval: Interval | None, threshold: float) -> str:
    """Whether what the interval brackets is at most the threshold."""
    if interval is None:
        return UNDECIDED
    if interval.high <= threshold:
        return HOLDS
    return FAILS if interval.low > threshold else UNDECIDED


@dataclass(frozen=True)
class Rate:
    """A measured probability with its 95% interval, as shares of 1."""

    count: int
    of: int
    low: float
    high: float

    def __str__(self) -> str:
        share, low, high = (f"{100 * x:.2f}" for x in (self.count / self.of, self.low, self.high))
        return f"{self.count:,} of {self.of:,}, {share}% [{low}, {high}]"


def binomial(count: int, of: int) -> Rate:
    """`count` of `of` trials, with the interval of Clopper and Pearson (Biometrika, 1934)."""
    found = stats.binomtest(count, of).proportion_ci(0.95)
    return Rate(count, of, found.low, found.high)
