"""The posterior of a crossing: against known models, and its coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from subspace_bench.dimension import crossing
from subspace_bench.dimension.crossing import CrossingModel, Target, monotone


def test_a_noisy_line_gives_the_t_interval_of_linear_regression(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crossing, "RATIOS", (0.0,))  # the straight line alone
    x = np.linspace(1.0, 6.0, 12)
    y = 3 + 2 * x + np.random.default_rng(0).normal(0, 0.5, 12)
    at = np.array([2.3, 4.0])
    line = stats.linregress(x, y)
    residual = y - line.intercept - line.slope * x
    variance = (residual @ residual) / 10
    error = np.sqrt(variance * (1 / 12 + (at - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()))
    mean = line.intercept + line.slope * at
    model = CrossingModel(x.tolist(), y.tolist())
    assert model.probability(at, Target(9.0)) == pytest.approx(stats.t.cdf((mean - 9) / error, 10))
    predicted, spread = model.predict(at)
    assert predicted == pytest.approx(mean)
    assert spread == pytest.approx(error)


def test_an_uncertain_target_widens_the_interval() -> None:
    x = np.linspace(1.0, 6.0, 12)
    y = 3 + 2 * x + np.random.default_rng(0).normal(0, 0.5, 12)
    model = CrossingModel(x.tolist(), y.tolist())
    low, high = model.quantiles([0.025, 0.975], 8.0, Target(9.0))
    wider = model.quantiles([0.025, 0.975], 8.0, Target(9.0, 0.5, 20))
    widest = model.quantiles([0.025, 0.975], 8.0, Target(9.0, 0.5, 2))
    assert widest[0] < wider[0] < low < 3.0 < high < wider[1] < widest[1]


def test_an_uncertain_target_compares_as_welch_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossing, "RATIOS", (0.0,))
    x = [1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 3.0]
    y = [0.3, -0.1, 0.2, -0.4, 0.1, 0.4, -0.2, -0.3]  # its line is flat: the mean at x = 2 is f
    baseline = [0.9, 0.2, 0.6]
    line = stats.linregress(x, y)
    residual = np.array(y) - line.intercept - line.slope * np.array(x)
    variance, error = (residual @ residual) / 6 / 8, stats.sem(baseline)
    freedom = (variance + error**2) ** 2 / (variance**2 / 6 + error**4 / 2)
    z = (np.mean(y) - np.mean(baseline)) / math.sqrt(variance + error**2)
    target = Target(float(np.mean(baseline)), float(error), 2)
    (p,) = CrossingModel(x, y).probability(np.array([2.0]), target)
    assert p == pytest.approx(stats.t.cdf(z, freedom))


@given(st.floats(-50, 50), st.floats(0.01, 100))
@settings(max_examples=20, deadline=None)
def test_units_of_the_score_do_not_matter(shift: float, scale: float) -> None:
    x = np.linspace(0.5, 7.0, 15)
    y = np.tanh(x - 3) + np.random.default_rng(1).normal(0, 0.05, 15)
    levels = [0.1, 0.5, 0.9]
    before = CrossingModel(x.tolist(), y.tolist()).quantiles(levels, 8.0, Target(0.2))
    after = CrossingModel(x.tolist(), (shift + scale * y).tolist())
    assert after.quantiles(levels, 8.0, Target(shift + scale * 0.2)) == pytest.approx(
        before, abs=1e-4
    )


def test_exact_scores_and_repeated_dimensions_are_handled() -> None:
    x = [1.0, 1.0, 3.0, 5.0, 5.0]
    model = CrossingModel(x, [1.0, 1.0, 3.0, 5.0, 5.0])
    assert model.quantiles([0.5], 6.0, Target(4.0)) == pytest.approx([4.0], abs=1e-3)


def test_a_crossing_outside_the_range_is_infinite() -> None:
    x = np.linspace(1.0, 6.0, 8)
    model = CrossingModel(x.tolist(), (2 * x + 0.01 * np.sin(9 * x)).tolist())
    assert model.quantiles([0.025, 0.5], 6.0, Target(20.0)) == [math.inf, math.inf]
    assert model.quantiles([0.5, 0.975], 6.0, Target(-5.0)) == [-math.inf, -math.inf]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_monotone_never_falls_and_keeps_the_crossing(values: list[float]) -> None:
    p = np.array(values)
    increasing = monotone(p)
    assert (np.diff(increasing) >= 0).all()
    misses = np.flatnonzero(p < 0.5)
    first = misses[-1] + 1 if len(misses) else 0
    assert (increasing[:first] < 0.5).all()
    assert (increasing[first:] >= 0.5).all()
    assert (monotone(increasing) == increasing).all()
