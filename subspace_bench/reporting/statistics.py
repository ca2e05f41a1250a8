"""Statistics over seeds: means, intervals, and verdicts on published numbers.

Accuracies are in %, differences in percentage points. Intervals of a mean use Student's t,

    mean ± t(0.975, n − 1) · sd / √n,

differences use Welch's t, proportions Clopper and Pearson's exact interval (`scipy.stats`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy  # its `stats`, which takes 0.7 s to import, when it is first used

LEVEL = 0.95
MIN_SEEDS = 5  # for a verdict
MAX_HALF_WIDTH = 1.0  # points: no verdict if the interval of the mean is wider

REPRODUCES, DOES_NOT, TOO_FEW = "reproduces", "does not reproduce", "too few seeds"
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

    def confidence(self, comparisons: int = 1) -> Interval | None:
        """95% confidence interval of the mean over all seeds; None for n < 2.

        Arguments:
            comparisons: number of intervals that hold together with 95% confidence (Bonferroni).
        """
        if self.n < 2:
            return None
        half = t_quantile(self.n - 1, comparisons) * self.sd / math.sqrt(self.n)
        return Interval(self.mean - half, self.mean + half)

    def prediction(self, extra_sd: float = 0.0, rounding: float = 0.0) -> Interval | None:
        """95% prediction interval for one more run as another lab would print it; None for n < 2.

        Arguments:
            extra_sd: additional standard deviation, in points, from their test sampling.
            rounding: unit of the last printed digit; half of it widens each end.
        """
        if self.n < 2:
            return None
        # The variance of a new run is sd²; that of our mean, which predicts it, is sd² / n.
        estimated = self.sd**2 * (1 + 1 / self.n)
        total = estimated + extra_sd**2
        # Welch-Satterthwaite: only `estimated` has n − 1 degrees of freedom. Binomial sampling is
        # known exactly, so it adds variance but no uncertainty about the variance.
        freedom = (self.n - 1) * (total / estimated) ** 2 if estimated else math.inf
        half = t_quantile(freedom) * math.sqrt(total) + rounding / 2
        return Interval(self.mean - half, self.mean + half)

    def show(self, comparisons: int = 1) -> str:
        """Mean ± half-width of its interval (n), as in all tables."""
        if not self.n:
            return "not run"
        interval = self.confidence(comparisons)
        if interval is None:
            return f"{self.mean:.2f} (n = 1)"
        return f"{self.mean:.2f} ± {interval.half_width:.2f} (n = {self.n})"


def t_quantile(freedom: float, comparisons: int = 1) -> float:
    """Two-sided 95% quantile of Student's t, Bonferroni-corrected for `comparisons` intervals."""
    return float(scipy.stats.t.isf((1 - LEVEL) / 2 / comparisons, freedom))


def binomial_sd(accuracy: float, draws: int) -> float:
    """Standard deviation, in points, of an accuracy measured on `draws` random test images."""
    p = min(max(accuracy / 100, 0.0), 1.0)
    return 100 * math.sqrt(p * (1 - p) / draws)


@dataclass(frozen=True)
class Published:
    """An accuracy published by others.

    Attributes:
        value: in %; the middle of a range.
        rounding: unit of the last digit, or twice the reading error of a figure.
        draws: number of test images drawn at random; None if all 10,000 were scored.
        range: the ends of a published range such as "98-99%".
    """

    value: float
    rounding: float
    draws: int | None = None
    range: Interval | None = None

    def expected(self, sample: Sample) -> Interval | None:
        """Where one more run lies, printed as this number is; None for n < 2."""
        extra = binomial_sd(sample.mean, self.draws) if self.draws and sample.n else 0.0
        return sample.prediction(extra, self.rounding)


def verdict(sample: Sample, published: Published, dim: int | None = None) -> str:
    """Whether a published number reproduces; "" without a seed.

    A number reproduces if it lies in the 95% prediction interval for one more run, widened by its
    rounding and its own test sampling; a range, if it overlaps that interval. The verdict is
    "too few seeds" below `MIN_SEEDS`, and at d ≥ 300 until the mean is known to a point.
    """
    interval = sample.confidence()
    if interval is None:
        return TOO_FEW if sample.n else ""
    # Below d = 300 only some seeds leave the plateau near 10%, so no affordable number of seeds
    # gives a narrow interval.
    imprecise = interval.half_width > MAX_HALF_WIDTH and (dim is None or dim >= 300)
    if sample.n < MIN_SEEDS or imprecise:
        return TOO_FEW
    expected = published.expected(sample)
    assert expected is not None
    if published.range is not None:
        return REPRODUCES if expected.overlaps(published.range) else DOES_NOT
    return REPRODUCES if published.value in expected else DOES_NOT


def difference(a: Sample, b: Sample, comparisons: int = 1) -> Interval | None:
    """95% confidence interval of mean(a) − mean(b) by Welch's t; None if either has n < 2.

    Welch's t, because accuracies spread more in small subspaces than in large ones.

    Arguments:
        comparisons: number of intervals that hold together with 95% confidence (Bonferroni).
    """
    if a.n < 2 or b.n < 2:
        return None
    # Not scipy's ttest_ind, which gives NaN for two constant samples and rounds means differently.
    va, vb = a.sd**2 / a.n, b.sd**2 / b.n
    middle = a.mean - b.mean
    if va + vb == 0:
        return Interval(middle, middle)
    freedom = (va + vb) ** 2 / (va**2 / (a.n - 1) + vb**2 / (b.n - 1))
    half = t_quantile(freedom, comparisons) * math.sqrt(va + vb)
    return Interval(middle - half, middle + half)


def tukey_hsd(samples: Mapping[str, Sample]) -> tuple[list[tuple[str, str]], float]:
    """Pairs of means that differ at the 5% level over all pairs: Tukey's HSD (Kramer, 1956).

    It pools the variance over all samples, because three seeds each give a poor estimate.

    Returns:
        (name of the higher, name of the lower) of each pair that differs, and the least significant
        difference in points (the largest one if numbers of seeds differ). Without two samples of
        two or more seeds: no pair, and NaN.
    """
    values = {name: sample.values for name, sample in samples.items() if sample.n > 1}
    if len(values) < 2:
        return [], math.nan
    interval = scipy.stats.tukey_hsd(*values.values()).confidence_interval(LEVEL)
    low, high = np.asarray(interval.low), np.asarray(interval.high)
    pairs = [
        (higher, lower)
        for i, higher in enumerate(values)
        for j, lower in enumerate(values)
        if low[i, j] > 0
    ]
    return pairs, float((high - low).max() / 2)


def at_least(interval: Interval | None, threshold: float) -> str:
    """Whether a quantity is at least the threshold, given its confidence interval."""
    if interval is None:
        return UNDECIDED
    if interval.low >= threshold:
        return HOLDS
    return FAILS if interval.high < threshold else UNDECIDED


def at_most(interval: Interval | None, threshold: float) -> str:
    """Whether a quantity is at most the threshold, given its confidence interval."""
    if interval is None:
        return UNDECIDED
    if interval.high <= threshold:
        return HOLDS
    return FAILS if interval.low > threshold else UNDECIDED


@dataclass(frozen=True)
class Rate:
    """An observed proportion, `count` of `of` trials, with its 95% interval, in 0 … 1."""

    count: int
    of: int
    low: float
    high: float

    def __str__(self) -> str:
        percent, low, high = (f"{100 * x:.2f}" for x in (self.count / self.of, self.low, self.high))
        return f"{self.count:,} of {self.of:,}, {percent}% [{low}, {high}]"


def binomial(count: int, of: int) -> Rate:
    """`count` of `of` trials with its exact 95% interval (Clopper and Pearson, 1934)."""
    interval = scipy.stats.binomtest(count, of).proportion_ci(LEVEL)
    return Rate(count, of, interval.low, interval.high)
