"""Ask and tell: the bracket, the budget, bounds, and how well simulated searches do."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.dimension_search import Curve, Simulation, curves
from subspace_bench.common.errors import UserError
from subspace_bench.dimension.crossing import Target
from subspace_bench.dimension.plan import Plan
from subspace_bench.dimension.search import Search


def run(search: Search, trainings: int, noise: float, seed: int, slope: float = 10.0) -> Search:
    """Trainings whose score is slope · log d + noise."""
    random = np.random.default_rng(seed)
    for _ in range(trainings):
        d = search.ask()
        assert d is not None
        assert 1 <= d <= search.native
        search.tell(d, slope * math.log(d) + noise * random.standard_normal())
    return search


@pytest.mark.parametrize("dimension", [2, 40, 3_000, 90_000])
def test_without_noise_it_finds_the_smallest_dimension(dimension: int) -> None:
    target = Target(10 * math.log(dimension - 0.5))  # `dimension` is the first to reach it
    estimate = run(Search(100_000, target), 12, 1e-6, 0).estimate()
    assert estimate is not None
    assert estimate.dimension == pytest.approx(dimension, rel=1e-3)
    assert estimate.interval_ratio < 1.01


def test_trainings_gather_at_the_crossing() -> None:
    search = run(Search(100_000, Target(10 * math.log(500))), 20, 1.0, 3)
    assert sum(250 <= d <= 1_000 for d in search.dims) >= 12


def test_an_interval_without_an_upper_end_is_given_one() -> None:
    """Trainings in one cluster do not tell the slope, so the next one is outside of it."""
    search = Search(20_000, Target(90.0))
    cluster = {141: 86.0, 200: 89.0, 202: 90.5, 205: 91.5, 207: 91.0, 210: 90.5, 215: 88.5}
    for d, score in cluster.items():
        search.tell(d, score)
    estimate = search.estimate()
    assert estimate is not None
    assert estimate.dimension is not None
    assert estimate.high is None
    assert search.ask() == pytest.approx(2 * estimate.dimension, rel=0.01)
    search.tell(408, 93.5)
    after = search.estimate()
    assert after is not None
    assert after.high is not None
    assert after.high < 408


def test_parallel_trainings_are_asked_for_different_dimensions() -> None:
    search = Search(100_000, Target(50.0))
    assert len({search.ask(running) for running in range(4)}) == 4


def test_an_uncertain_baseline_is_trained_again() -> None:
    search = run(Search(100_000, Target(50.0, 1e-3, 2)), 12, 0.5, 0)
    assert search.ask() is not None
    search.target = Target(50.0, 2.0, 2)
    assert search.ask() is None


def test_a_target_beyond_every_d_has_no_estimate_but_a_bound() -> None:
    estimate = run(Search(10_000, Target(200.0)), 12, 0.5, 0).estimate()
    assert estimate is not None
    assert estimate.dimension is None
    assert estimate.high is None
    assert estimate.low > 5_000
    assert estimate.interval_ratio == math.inf


def test_a_target_below_every_score_is_reached_at_one() -> None:
    estimate = run(Search(10_000, Target(-50.0)), 12, 0.5, 0).estimate()
    assert estimate is not None
    assert (estimate.dimension, estimate.low) == (1, 1)


def test_the_estimate_waits_for_four_trainings() -> None:
    search = run(Search(10_000, Target(20.0)), 3, 0.5, 0)
    assert search.estimate() is None


def test_targets() -> None:
    scores = [90.0, 92.0, 94.0]
    error = 2 / math.sqrt(3)
    assert Plan().target(scores) == Target(pytest.approx(82.8), pytest.approx(0.9 * error), 2)
    assert Plan(threshold=95.0).target(scores) == Target(95.0, 0.0)
    assert Plan(within=1.5).target(scores) == Target(pytest.approx(90.5), pytest.approx(error), 2)
    assert Plan().target([0.9], higher_is_better=False).score == pytest.approx(-1.0)
    assert Plan(threshold=0.3).target([0.9], higher_is_better=False).score == -0.3
    assert Plan(within=0.2).target([0.9], higher_is_better=False).score == pytest.approx(-1.1)


@pytest.mark.parametrize(
    "bad",
    [
        {"fraction": 0.0}, {"fraction": 1.0}, {"fraction": math.nan}, {"threshold": math.inf},
        {"within": -1.0}, {"threshold": 90.0, "within": 1.0}, {"trainings": 1}, {"minutes": 0.0},
        {"interval_ratio": 0.5}, {"jobs": 0}, {"projector": "hased"},
    ],
)  # fmt: skip
def test_a_bad_plan_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(UserError):
        Plan(**bad)  # type: ignore[arg-type]


@pytest.mark.slow
def test_simulated_curves_are_those_with_accuracies() -> None:
    names = [curve.name for curve in curves()]
    assert names[:3] == ["Li et al., fc", "Li et al., lenet", "Li et al., logistic"]


@pytest.mark.slow
def test_simulated_searches_are_accurate_and_honest() -> None:
    d = (10, 50, 100, 200, 300, 500, 750, 1_000, 1_500, 199_210)
    accuracy = (17.5, 45.1, 59.3, 75.8, 81.8, 86.5, 89.4, 90.7, 92.5, 98.1)
    simulation = Simulation(Curve("Li et al., fc", d, accuracy), "90% of the baseline", 0.3)
    truth, errors, covered = math.exp(simulation.truth()), [], 0
    for seed in range(12):
        estimate = simulation.search(np.random.default_rng(seed))
        assert estimate.dimension is not None
        assert estimate.high is not None
        errors.append(estimate.dimension / truth - 1)
        covered += estimate.low <= truth <= estimate.high
    assert np.sqrt(np.mean(np.square(errors))) < 0.06
    assert covered >= 9  # a nominal 95% interval fails this once in 7,000 tries
