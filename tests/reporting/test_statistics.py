"""Intervals and verdicts."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from subspace_bench.reporting.statistics import (
    DOES_NOT,
    FAILS,
    HOLDS,
    REPRODUCES,
    TOO_FEW,
    UNDECIDED,
    Interval,
    Published,
    Sample,
    at_least,
    at_most,
    binomial_sd,
    difference,
    tukey_hsd,
    verdict,
)

FIVE = Sample((98.8, 98.9, 99.0, 99.1, 99.2))


def test_mean_sd_and_confidence_by_hand() -> None:
    assert FIVE.mean == pytest.approx(99.0)
    assert FIVE.sd == pytest.approx(math.sqrt(0.025))
    half = 2.7764451 * math.sqrt(0.025) / math.sqrt(5)
    assert FIVE.confidence().half_width == pytest.approx(half, rel=1e-6)
    assert FIVE.show() == "99.00 ± 0.20 (n = 5)"


def test_one_run_or_none_shows_no_interval() -> None:
    assert Sample((97.5,)).show() == "97.50 (n = 1)"
    assert Sample(()).show() == "not run"
    assert Sample((97.5,)).confidence() is None
    assert verdict(Sample((97.5,)), Published(97.5, 0.1)) == TOO_FEW
    assert verdict(Sample(()), Published(97.5, 0.1)) == ""


def test_prediction_interval_covers_one_more_run_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(4000):
        runs = rng.normal(90, 2, 6)
        inside += runs[5] in Sample(tuple(runs[:5])).prediction()
    assert inside / 4000 == pytest.approx(0.95, abs=0.012)


def test_rounding_and_sampling_widen_the_prediction() -> None:
    plain = FIVE.prediction().half_width
    assert FIVE.prediction(rounding=0.1).half_width == pytest.approx(plain + 0.05)
    ours, theirs = 0.025 * 1.2, binomial_sd(99.0, 9_984) ** 2
    t = stats.t.ppf(0.975, 4 * ((ours + theirs) / ours) ** 2)
    wide = FIVE.prediction(extra_sd=binomial_sd(99.0, 9_984)).half_width
    assert wide == pytest.approx(t * math.sqrt(ours + theirs), rel=1e-6)
    assert binomial_sd(99.0, 9_984) == pytest.approx(100 * math.sqrt(0.99 * 0.01 / 9984))


def test_verdicts() -> None:
    assert verdict(FIVE, Published(99.0, 0.1)) == REPRODUCES
    assert verdict(FIVE, Published(97.0, 0.1)) == DOES_NOT
    assert verdict(Sample(FIVE.values[:4]), Published(99.0, 0.1)) == TOO_FEW
    vague = Sample((70.0, 75.0, 80.0, 72.0, 78.0))
    assert verdict(vague, Published(75.0, 0.1), dim=300) == TOO_FEW
    assert verdict(vague, Published(75.0, 0.1), dim=None) == TOO_FEW
    assert verdict(vague, Published(75.0, 0.1), dim=100) == REPRODUCES


def test_published_ranges_are_met_by_overlap() -> None:
    assert verdict(FIVE, Published(99.5, 1, range=Interval(99.0, 100.0))) == REPRODUCES
    assert verdict(FIVE, Published(97.5, 1, range=Interval(97.0, 97.9))) == DOES_NOT


def test_welch_difference_matches_scipy() -> None:
    a, b = (98.0, 98.4, 98.9), (97.0, 97.1, 97.6, 96.9)
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    interval = difference(Sample(a), Sample(b))
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(1 - 0.05 / 7)
    interval = difference(Sample(a), Sample(b), comparisons=7)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert difference(Sample((1.0, 1.0)), Sample((2.0, 2.0, 2.0))) == Interval(-1.0, -1.0)
    assert difference(Sample((1.0,)), Sample(b)) is None


def test_tukey_hsd_matches_a_textbook() -> None:
    # Montgomery, Design and Analysis of Experiments, table 3.1: etch rates at four powers; Tukey's
    # 5% difference is 33.09, and all pairs differ.
    rates = {
        "160": (575, 542, 530, 539, 570), "180": (565, 593, 590, 579, 610),
        "200": (600, 651, 610, 637, 629), "220": (725, 700, 715, 685, 710),
    }  # fmt: skip
    samples = {name: Sample(values) for name, values in rates.items()}
    pairs, least = tukey_hsd(samples)
    assert least == pytest.approx(33.09, abs=0.05)
    assert {frozenset(pair) for pair in pairs} == {
        frozenset(pair) for pair in itertools.combinations(rates, 2)
    }
    assert ("220", "160") in pairs
    apart, _ = tukey_hsd({"a": samples["160"], "b": samples["160"], "one": Sample((1.0,))})
    assert apart == []
    assert math.isnan(tukey_hsd({"a": samples["160"]})[1])


def test_comparisons_widen_an_interval_as_bonferroni_does() -> None:
    half = stats.t.isf(0.025 / 3, 4) * math.sqrt(0.025) / math.sqrt(5)
    assert FIVE.confidence(comparisons=3).half_width == pytest.approx(half)
    assert FIVE.show(comparisons=3) == f"99.00 ± {half:.2f} (n = 5)"


def test_thresholds() -> None:
    assert at_least(Interval(1.1, 2), 1) == HOLDS
    assert at_least(Interval(0.5, 0.9), 1) == FAILS
    assert at_least(Interval(0.5, 1.5), 1) == UNDECIDED
    assert at_least(None, 1) == UNDECIDED
    assert at_most(Interval(0.5, 0.9), 1) == HOLDS
    assert at_most(Interval(1.1, 2), 1) == FAILS
