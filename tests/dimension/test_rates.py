"""`--rates`: the best rate is chosen, what another would change is known, and it resumes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest
from torch import nn

from subspace_bench import Subspace, intrinsic_dimension
from subspace_bench.common import rng
from subspace_bench.common.errors import UserError
from subspace_bench.dimension.crossing import CrossingModel
from subspace_bench.dimension.measure import next_trial
from subspace_bench.dimension.plan import BASELINES, RATE_BLOCKS, Plan
from subspace_bench.dimension.rates import RateComparison, compare
from subspace_bench.dimension.result import IntrinsicDimension
from subspace_bench.dimension.task import Task
from subspace_bench.dimension.trainings import Trainings
from subspace_bench.dimension.trial import Outcome, Trial
from tests.dimension.test_measure import D, build, train

RATES = (0.05, 0.1, 0.2, 0.4)
SLOPE, NOISE, NATIVE = 8.0, 0.7, 100_000


def surface(dim: int, rate: float, best: float) -> float:
    """A score that rises with log d and falls on both sides of the best rate."""
    return SLOPE * math.log(dim) - 2 * math.log2(rate / best) ** 2


def simulate(index: int, best: float, rates: tuple[float, ...] = RATES) -> IntrinsicDimension:
    """A search whose trainings are points of `surface` with noise, a part of it of the seed."""
    plan = Plan(threshold=SLOPE * math.log(500), trainings=30, rates=rates)
    task = Task("task", build, lambda net, seed, rate=0.1: 0.0)
    trainings, random = Trainings(task, plan, None), np.random.default_rng(index)
    seeds = random.normal(0, NOISE, 100)
    while (trial := next_trial(trainings, plan, [])) is not None:
        dim = NATIVE if trial.dim is None else trial.dim
        score = surface(dim, trial.rate or best, best) + seeds[trial.seed] * 0.7
        score += 0.7 * NOISE * random.standard_normal()
        trainings.add(trial, Outcome(score, NATIVE, 1.0, 1))
    return trainings.result()


@pytest.mark.parametrize("best", [0.1, 0.2])
def test_the_best_rate_of_a_known_surface_is_chosen(best: float) -> None:
    result = simulate(0, best)
    assert result.rate == best
    assert result.dimension == pytest.approx(500, rel=0.15)
    comparison = cast(RateComparison, result.rates)
    assert comparison.factor is not None
    middle, low, high = comparison.factor
    assert low < middle < high
    assert low <= math.exp(2 / SLOPE) <= high  # the next rate, a factor of 2 away, scores 2 less
    assert len(comparison.scores) == RATE_BLOCKS
    assert set(result.curve["d"]) >= {d for d, _ in comparison.scores.index}
    assert len(str(result.rates).splitlines()) == 1


def test_an_end_of_the_list_is_said() -> None:
    inside, end = simulate(1, 0.1), simulate(1, 0.1, (0.1, 0.2, 0.4))
    assert (inside.rate, end.rate) == (0.1, 0.1)
    assert len(str(end.rates)) > len(str(inside.rates))


@pytest.mark.slow
@pytest.mark.parametrize("gap", [0.0, 0.5, 2.0])
def test_the_interval_of_the_factor_covers_the_truth(gap: float) -> None:
    """400 comparisons a gap between rates; the slope is known with an error of a tenth."""
    true = -gap * np.array([1.0, 0.0, 1.0, 3.0])
    covered, tries = 0, 400
    for index in range(tries):
        random = rng.generator(index, f"test {gap}")
        noise = random.normal(0, NOISE, (RATE_BLOCKS, 4))
        table = pd.DataFrame(random.normal(0, 3, (RATE_BLOCKS, 1)) + true + noise, columns=RATES)
        slope = SLOPE * (1 + 0.1 * random.standard_normal())
        _, factor = compare(table, (slope, 0.1 * SLOPE, 20), NATIVE)
        chosen = int(np.argmax(table.mean()))
        gain = np.delete(true, chosen).max() - true[chosen]
        assert factor is not None
        covered += factor[1] <= math.exp(-gain / SLOPE) <= factor[2]
    assert covered / tries >= 0.93


def test_the_slope_of_a_noisy_line_is_that_of_linear_regression() -> None:
    x = np.linspace(1.0, 6.0, 12)
    y = 3 + 2 * x + np.random.default_rng(0).normal(0, 0.05, 12)
    mean, error, freedom = CrossingModel(x.tolist(), y.tolist()).slope(3.0)
    assert mean == pytest.approx(2.0, abs=0.1)
    assert 0.005 < error < 0.1
    assert freedom == 10


def test_the_slope_is_the_derivative_of_the_fit() -> None:
    x = np.linspace(0.5, 7.0, 15)
    y = np.tanh(x - 3) + np.random.default_rng(1).normal(0, 0.05, 15)
    model = CrossingModel(x.tolist(), y.tolist())
    (before, after), _ = model.predict(np.array([2.999, 3.001]))
    assert model.slope(3.0)[0] == pytest.approx((after - before) / 0.002, rel=1e-3)


def train_at(net: nn.Module, seed: int, rate: float = 1.0) -> float:
    """Explained variance, less a penalty; diverges at rates above 2."""
    score = train(net, seed) - 5 * math.log2(rate) ** 2
    return math.nan if rate > 2 else score


def test_it_resumes_and_equals_an_uninterrupted_search(tmp_path: Path) -> None:
    options = {"rates": (0.5, 1.0, 8.0), "threshold": 60.0, "trainings": 20}
    whole = intrinsic_dimension(build, train_at, **options)  # type: ignore[arg-type]

    def interrupted(net: nn.Module, seed: int, rate: float = 1.0) -> float:
        if seed == 2 and rate == 1.0 and isinstance(net, Subspace):
            raise KeyboardInterrupt
        return train_at(net, seed, rate)

    with pytest.raises(KeyboardInterrupt):
        intrinsic_dimension(build, interrupted, out=tmp_path, **options)  # type: ignore[arg-type]
    finished = len(pd.read_csv(tmp_path / "trainings" / "task.csv"))
    assert BASELINES + 4 <= finished < BASELINES + 20
    result = intrinsic_dimension(build, train_at, out=tmp_path, **options)  # type: ignore[arg-type]
    assert result.to_dict()["rates"] == whole.to_dict()["rates"]
    assert result.interval == whole.interval
    assert result.rate == 1.0
    assert json.dumps(result.to_dict()["rates"])
    rows = pd.read_csv(tmp_path / "trainings" / "task.csv")
    assert len(rows) == BASELINES + 20
    assert rows.loc[rows["rate"] == 8.0, "score"].isna().all()


def test_trainings_without_a_rate_are_kept_apart(tmp_path: Path) -> None:
    alone = intrinsic_dimension(build, train_at, trainings=6, out=tmp_path)
    path = tmp_path / "trainings" / "task.csv"
    assert "rate" not in path.read_text().splitlines()[0]
    rates = intrinsic_dimension(build, train_at, trainings=14, rates=(0.5, 1.0), out=tmp_path)
    assert rates.baseline == alone.baseline
    assert len(pd.read_csv(path)) == BASELINES + 6 + 14
    again = intrinsic_dimension(build, train_at, trainings=6, out=tmp_path)
    assert again.curve["score"].tolist() == alone.curve["score"].tolist()


@pytest.mark.parametrize("rates", [(4.0, 8.0), (8.0,)])
def test_rates_that_all_diverge_are_an_error(rates: tuple[float, ...]) -> None:
    with pytest.raises(UserError):
        intrinsic_dimension(build, train_at, trainings=14, rates=rates)


def test_one_rate_is_used_in_subspaces_and_not_compared() -> None:
    result = intrinsic_dimension(build, train_at, trainings=6, rates=(1.0,))
    assert (result.rate, result.rates, len(result.curve)) == (1.0, None, 6)
    assert result.baseline == intrinsic_dimension(build, train_at, trainings=6).baseline


@pytest.mark.parametrize("rates", [(0.1, 0.1), (-0.1, 0.1), (0.0, 0.1), (math.nan, 0.1), RATES])
def test_bad_rates_are_refused(rates: tuple[float, ...]) -> None:
    with pytest.raises(UserError):
        intrinsic_dimension(build, train_at, trainings=20, rates=rates)


def required(net: nn.Module, seed: int, rate: float) -> float:
    return train_at(net, seed, rate)


@pytest.mark.parametrize("other", [train, required])
def test_a_task_must_take_a_rate_and_have_its_own(other: object) -> None:
    with pytest.raises(UserError):
        intrinsic_dimension(build, other, rates=(0.1, 0.2))  # type: ignore[arg-type]


def test_parallel_trainings_wait_for_the_choice_of_the_rate() -> None:
    plan = Plan(threshold=50.0, trainings=20, rates=(0.5, 1.0))
    trainings = Trainings(Task("task", build, train_at), plan, None)
    for seed in range(BASELINES):
        trainings.add(Trial(None, seed), Outcome(100.0, D, 1.0, 1))
    for seed, dim in enumerate((10, 32, 56, 75)):
        trainings.add(Trial(dim, RATE_BLOCKS + seed, 0.5), Outcome(float(dim), D, 1.0, 1))
    running: list[Trial] = []
    while (trial := next_trial(trainings, plan, running)) is not None:
        running.append(trial)
    assert len(running) == plan.comparison
    assert {trial.dim for trial in running} == {32, 56}
    assert all(sum(t.rate == rate for t in running) == RATE_BLOCKS for rate in (0.5, 1.0))
