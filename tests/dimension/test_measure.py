"""Whole searches of a small task from Python: known answers, resumed, interrupted, misused."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from subspace_bench import Subspace, intrinsic_dimension
from subspace_bench.common.errors import UserError
from subspace_bench.dimension.measure import measure, next_trial, only_search
from subspace_bench.dimension.plan import Plan
from subspace_bench.dimension.task import Task
from subspace_bench.dimension.trainings import Trainings
from subspace_bench.dimension.trial import Outcome, Trial

D = 100


def build(seed: int) -> nn.Module:
    return nn.Linear(D, 1, bias=False)


def train(net: nn.Module, seed: int) -> float:
    """Least squares to a random θ: the score is the share of its variance that is explained, in %.

    A random subspace of d dimensions explains d / D on average.
    """
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.eye(D), torch.randn(D, 1, generator=generator)
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=30)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(x), y)
        loss.backward()
        return loss

    optimizer.step(closure)
    return 100 * (1 - closure().item() / y.square().mean().item())


def train_loss(net: nn.Module, seed: int) -> float:
    return 100 - train(net, seed)


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("forked_workers")
def test_the_answer_is_right_where_it_is_known(jobs: int) -> None:
    result = intrinsic_dimension(build, train, threshold=60.0, trainings=16, jobs=jobs)
    assert result.native == D
    low, high = result.interval
    assert high is not None
    if jobs == 1:  # with two, the d's depend on which ends first, and 1 interval in 20 may miss
        assert low <= 0.6 * D <= high <= D
    assert result.dimension == pytest.approx(0.6 * D, rel=0.15)
    assert result.bloat == D / result.dimension
    assert len(result.curve) == 16
    assert sorted(result.curve["seed"]) == list(range(16))
    assert str(D) in str(result)
    assert str(result.dimension) in result._repr_html_()


def test_a_loss_gives_the_same_answer() -> None:
    score = intrinsic_dimension(build, train, threshold=60.0, trainings=8)
    loss = intrinsic_dimension(
        build, train_loss, threshold=40.0, trainings=8, higher_is_better=False
    )
    assert loss.interval == score.interval
    assert loss.curve["score"].to_numpy() == pytest.approx(100 - score.curve["score"].to_numpy())
    assert loss.target == 40.0


def test_the_same_call_gives_the_same_numbers() -> None:
    first, second = (intrinsic_dimension(build, train, trainings=6) for _ in range(2))
    pd.testing.assert_frame_equal(
        first.curve.drop(columns="seconds"), second.curve.drop(columns="seconds")
    )


def interrupt_at(last: int, train: Callable[[nn.Module, int], float]) -> Task:
    """The task of `build` and `train`, with Ctrl-C at a seed."""

    def interrupted(net: nn.Module, seed: int) -> float:
        if seed == last:
            raise KeyboardInterrupt
        return train(net, seed)

    return Task("task", build, interrupted)


def test_it_resumes_and_equals_an_uninterrupted_search(tmp_path: Path) -> None:
    whole = intrinsic_dimension(build, train, trainings=8)
    interrupted = interrupt_at(5, train)
    with pytest.raises(KeyboardInterrupt):
        intrinsic_dimension(interrupted.build, interrupted.train, trainings=8, out=tmp_path)
    assert len(pd.read_csv(tmp_path / "trainings" / "task.csv")) == 3 + 5
    result = intrinsic_dimension(build, train, trainings=8, out=tmp_path)
    assert result.interval == whole.interval
    assert result.curve["score"].tolist() == whole.curve["score"].tolist()
    assert len(pd.read_csv(tmp_path / "trainings" / "task.csv")) == 3 + 8


def test_another_target_keeps_the_baseline_and_has_trainings_of_its_own(tmp_path: Path) -> None:
    fresh = intrinsic_dimension(build, train, trainings=6, threshold=50.0)
    first = intrinsic_dimension(build, train, trainings=6, out=tmp_path)
    result = intrinsic_dimension(build, train, trainings=6, threshold=50.0, out=tmp_path)
    assert (result.interval, result.baseline) == (fresh.interval, first.baseline)
    path = tmp_path / "trainings" / "task.csv"
    assert len(pd.read_csv(path)) == 3 + 6 + 6
    before = path.read_bytes()
    again = intrinsic_dimension(build, train, trainings=6, out=tmp_path)
    assert again.interval == first.interval
    assert path.read_bytes() == before


def test_trainings_of_another_projector_are_not_mixed(tmp_path: Path) -> None:
    intrinsic_dimension(build, train, trainings=5, out=tmp_path)
    with pytest.raises(UserError):
        intrinsic_dimension(build, train, trainings=5, out=tmp_path, projector="sparse")


@pytest.mark.parametrize(
    ("old", "new"),
    [("plain,100", "plain,50"), ("subspace", "other"), ("hashed", "hash\x07"), ("100", "many")],
)
def test_a_damaged_file_of_trainings_is_refused(old: str, new: str, tmp_path: Path) -> None:
    intrinsic_dimension(build, train, trainings=5, out=tmp_path)
    path = tmp_path / "trainings" / "task.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError):
        intrinsic_dimension(build, train, trainings=5, out=tmp_path)


def test_no_seed_is_used_twice_whatever_has_finished() -> None:
    """After a kill of parallel trainings, the finished ones have gaps in their seeds."""
    trainings = Trainings(Task("task", build, train), Plan(jobs=3), None)
    assert next_trial(trainings, Plan(), [Trial(None, 0)]) == Trial(None, 1)
    for seed in range(3):
        trainings.add(Trial(None, seed), Outcome(100.0, D, 1.0, 1))
    trainings.add(Trial(14, 1), Outcome(7.0, D, 1.0, 1))
    first = next_trial(trainings, Plan(), [])
    assert first is not None
    assert first.seed == 0
    second = next_trial(trainings, Plan(), [first])
    assert second is not None
    assert second.seed == 2
    assert second.dim != first.dim


def test_a_narrow_interval_ends_the_search() -> None:
    result = intrinsic_dimension(build, train, fraction=0.6, trainings=40, interval_ratio=1.5)
    assert result.interval[1] is not None
    assert len(result.curve) < 40


def test_out_of_time_is_an_error_before_anything_is_known(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        intrinsic_dimension(build, train, minutes=1e-9, out=tmp_path)


def test_an_unreachable_target_has_a_bound() -> None:
    result = intrinsic_dimension(build, train, threshold=150.0, trainings=6)
    assert result.dimension is None
    assert result.bloat is None
    assert result.interval[1] is None
    assert len(result.notices) == 1
    assert result.to_dict()["dimension"] is None
    assert result._repr_html_().startswith("<table>")


def test_a_loop_that_suits_only_the_module_itself_is_noticed() -> None:
    """The baseline reaches the target, so a subspace of D dimensions would with another rate."""

    def train_slowly(net: nn.Module, seed: int) -> float:
        return train(net, seed) - (50 if isinstance(net, Subspace) else 0)

    result = intrinsic_dimension(build, train_slowly, trainings=20)
    assert result.dimension is None
    assert len(result.curve) < 20  # it ends when it is clear
    assert any("--rates" in notice for notice in result.notices)


def test_a_target_that_one_dimension_reaches_is_noted() -> None:
    result = intrinsic_dimension(build, train, threshold=-10.0, trainings=10)
    assert result.dimension == 1
    assert len(result.notices) == 1


def test_a_task_that_ignores_its_seed_is_noticed() -> None:
    # The baseline explains everything but rounding.
    result = intrinsic_dimension(build, lambda net, seed: round(train(net, 0), 2), trainings=5)
    assert any("seed" in notice for notice in result.notices)


def raises(net: nn.Module, seed: int) -> float:
    raise RuntimeError("no data")


@pytest.mark.parametrize(
    ("bad_build", "bad_train"),
    [
        (build, raises),
        (build, lambda net, seed: sys.exit(1)),
        (build, lambda net, seed: -train(net, seed)),  # falls with d
        (build, lambda net, seed: 1.0),  # trains nothing
        (build, lambda net, seed: train(net, seed) * math.nan),
        (build, lambda net, seed: (train(net, seed), "good")[1]),
        (build, lambda net, seed: (train(net, seed), None)[1]),
        (lambda seed: "net", train),
        (lambda seed: nn.Linear(D, 1 + seed, bias=False), train),  # another architecture
        (lambda seed: nn.ReLU(), train),
        (lambda seed: nn.Linear(2, 1), lambda net, seed: 1.0),
        (raises, train),
    ],
)
def test_a_bad_task_ends_with_one_error(
    bad_build: Callable[[int], nn.Module], bad_train: Callable[[nn.Module, int], float]
) -> None:
    with pytest.raises(UserError) as error:
        intrinsic_dimension(bad_build, bad_train, trainings=6)
    assert len(str(error.value).splitlines()) == 1


def test_a_loop_that_moves_the_plain_module_only_trains_nothing() -> None:
    """An optimizer of captured parameters, not of net.parameters(), leaves ω as it was."""
    captured: list[nn.Module] = []

    def keep(seed: int) -> nn.Module:
        captured.append(build(seed))
        return captured[-1]

    def train_captured(net: nn.Module, seed: int) -> float:
        with torch.no_grad():
            for p in captured[-1].parameters():
                if p.is_leaf:
                    p += 1.0
        return 1.0

    with pytest.raises(UserError):
        intrinsic_dimension(keep, train_captured, trainings=6)


def test_an_error_keeps_finished_trainings(tmp_path: Path) -> None:
    def fails_late(net: nn.Module, seed: int) -> float:
        return train(net, seed) if seed < 4 else math.inf

    with pytest.raises(UserError):
        intrinsic_dimension(build, fails_late, trainings=8, out=tmp_path)
    assert len(pd.read_csv(tmp_path / "trainings" / "task.csv")) == 3 + 4


@pytest.mark.parametrize("name", ["", "a/b", "<b>", "..", "x" * 100])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(UserError):
        Task(name, build, train)


@pytest.mark.usefixtures("forked_workers")
def test_jobs_need_functions_that_can_be_imported() -> None:
    with pytest.raises(UserError):
        intrinsic_dimension(build, lambda net, seed: 1.0, jobs=2)


def test_two_searches_in_one_folder_train_once(tmp_path: Path) -> None:
    trained: list[int] = []

    def counted(net: nn.Module, seed: int) -> float:
        trained.append(seed)
        return train(net, seed)

    def search() -> None:
        intrinsic_dimension(build, counted, trainings=5, out=tmp_path)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(trained) == 3 + 5
    assert [path.name for path in (tmp_path / "trainings").iterdir()] == ["task.csv"]


def test_waiting_for_another_search_counts_as_time(tmp_path: Path) -> None:
    task, plan = Task("task", build, train), Plan(minutes=0.002)
    with only_search(task, tmp_path, math.inf), pytest.raises(UserError, match="time"):
        measure(task, plan, tmp_path)
    assert list(tmp_path.iterdir()) == []
