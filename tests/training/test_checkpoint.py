"""An interrupted run resumes from its checkpoint and ends with the same bits."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from subspace_bench.records.config import RunConfig, TrainingConfig
from subspace_bench.training.loop import Interrupted, prepare, train
from subspace_bench.training.optimizers import (
    FullSpaceOptimizer,
    FusedSubspaceAdam,
    SubspaceOptimizer,
    make_optimizer,
)

SHORT = TrainingConfig(steps=9, batch=64, lr=3e-3, betas=(0.9, 0.99), score_every=3)
DIRECT = RunConfig("conv", "default", SHORT, dataset="mnist-5k")
SUBSPACE = replace(DIRECT, dim=40, projector="orthonormal", origin="zero")
SGD = TrainingConfig(steps=9, batch=64, lr=0.01, optimizer="sgd", momentum=0.9, bias_lr=2.0,
               schedule="inv", gamma=1e-2, power=0.75, sampling="epochs")  # fmt: skip
RUNS = {
    "direct": (DIRECT, FullSpaceOptimizer),
    "direct, sgd": (replace(DIRECT, protocol=SGD), FullSpaceOptimizer),
    "one pass": (SUBSPACE, FusedSubspaceAdam),
    "two passes": (replace(SUBSPACE, dtype="float64"), SubspaceOptimizer),
    "two passes, sgd": (replace(SUBSPACE, protocol=replace(SGD, bias_lr=1.0)), SubspaceOptimizer),
}


def train_in_pieces(run: RunConfig, digits, path: Path, stops: tuple[int, ...]):
    """Trains with an interruption after each of the update counts."""
    for stop in stops:
        asked = count(1)
        with pytest.raises(Interrupted):
            train(run, digits, path, should_stop=lambda n=stop, c=asked: next(c) == n)
        assert path.exists()
    return train(run, digits, path)


@pytest.mark.parametrize("name", RUNS)
def test_interrupted_training_ends_with_the_same_bits(name, digits, tmp_path: Path) -> None:
    run, kind = RUNS[name]
    assert isinstance(make_optimizer(run, prepare(run)), kind)
    pieces = train_in_pieces(run, digits, tmp_path / "run.checkpoint", (4, 2))
    assert pieces.result == train(run, digits).result
    assert [row[0] for row in pieces.result["curve"]] == [1, 4, 7, 9] or "sgd" in name


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"x" * 99])
def test_a_damaged_checkpoint_costs_time_not_results(damage, digits, tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    with pytest.raises(Interrupted):
        train(DIRECT, digits, path, should_stop=lambda: True)
    path.write_bytes(damage(path.read_bytes()))
    assert train(DIRECT, digits, path).result == train(DIRECT, digits).result


def test_the_checkpoint_of_another_run_is_left_alone(digits, tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    with pytest.raises(Interrupted):
        train(replace(DIRECT, seed=3), digits, path, should_stop=lambda: True)
    assert train(DIRECT, digits, path).result == train(DIRECT, digits).result
