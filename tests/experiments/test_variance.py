"""Variance of P and θ_init against that of batches and dropout: on samples with known shares."""

from __future__ import annotations

import math

import numpy as np
import pytest
from flat_records import records
from scipy import stats

from subspace_bench.experiments import Evidence, Plan
from subspace_bench.experiments.variance import (
    SHARE,
    TRAININGS,
    Spread,
    log_bias,
    log_variance,
    mean_correlation,
    pooled_ratio,
    ratio_interval,
    runs,
    sd_interval,
    seeds_needed,
    spreads,
    table,
)
from subspace_bench.reporting.statistics import TOO_FEW, Sample


def drawn(rng: np.random.Generator, ratio: float, batches: int = 5, total: int = 8) -> Spread:
    """A training whose variance is 1 with fresh draws and `ratio` with the author's."""
    return Spread(
        "", 1, Sample(tuple(rng.normal(0, 1, total))),
        Sample(tuple(rng.normal(0, math.sqrt(ratio), batches))),
    )  # fmt: skip


def test_the_interval_of_a_ratio_holds_it_in_95_percent_of_cases() -> None:
    rng = np.random.default_rng(0)
    inside = sum(0.3 in ratio_interval(drawn(rng, 0.3, batches=3, total=5)) for _ in range(2_000))
    assert stats.binomtest(inside, 2_000, 0.95).pvalue > 0.001


def test_the_pooled_interval_holds_the_ratio_in_about_95_percent_of_cases() -> None:
    rng = np.random.default_rng(1)
    pooled = [pooled_ratio([drawn(rng, 0.3) for _ in range(6)]) for _ in range(1_000)]
    assert 0.93 < np.mean([0.3 in interval for _, interval in pooled]) < 0.97
    assert np.mean([math.log(ratio) for ratio, _ in pooled]) == pytest.approx(
        math.log(0.3), abs=0.05
    )


def test_moments_of_a_log_variance() -> None:
    sample = np.log(np.random.default_rng(2).chisquare(4, 200_000) / 4)
    assert log_bias(4) == pytest.approx(sample.mean(), abs=0.01)
    assert log_variance(4) == pytest.approx(sample.var(), abs=0.02)


def test_the_interval_of_a_standard_deviation() -> None:
    sample = Sample((1.0, 2.0, 3.0, 4.0, 5.0))
    interval = sd_interval(sample)  # tables of χ² with 4 degrees of freedom: 0.484, 11.143
    assert interval.low == pytest.approx(math.sqrt(10 / 11.143), rel=1e-3)
    assert interval.high == pytest.approx(math.sqrt(10 / 0.4844), rel=1e-3)


@pytest.mark.parametrize("sd", [0.05, 0.1, 0.35, 2.0])
def test_the_number_of_seeds_is_the_least_that_suffices(sd: float) -> None:
    def half_width(n: int) -> float:
        return float(stats.t.isf(0.025, n - 1)) * sd / math.sqrt(n)

    n = seeds_needed(sd, 0.1)
    assert half_width(n) <= 0.1
    assert n == 2 or half_width(n - 1) > 0.1


def test_rows_that_vary_together_are_correlated() -> None:
    one, other = Sample((1.0, 2.0, 3.0)), Sample((3.0, 2.0, 1.0, 9.0))
    assert mean_correlation([one, one]) == pytest.approx(1.0)
    assert mean_correlation([one, other]) == pytest.approx(-1.0)
    assert mean_correlation([one, one, other]) == pytest.approx(-1 / 3)
    assert math.isnan(mean_correlation([one, Sample((1.0, 1.0, 1.0))]))


def test_the_table_waits_for_three_seeds_on_either_side() -> None:
    def column(author: list[float]) -> list[str]:
        given = dict(zip(runs("conv", None, 1_000, 100), ([93.0, 93.4, 92.6], author), strict=True))
        return list(table(spreads(Evidence(Plan(), records(given))))[SHARE])

    rows = sum(len(dims) for _, _, dims, _ in TRAININGS)
    assert column([93.0, 93.1]) == [TOO_FEW] * (rows + 1)
    shares = column([93.0, 93.1, 92.9])
    assert shares.count(TOO_FEW) == rows - 1
    assert shares[3].startswith("94% [")
