"""An interrupted run resumes from its checkpoint and ends with the same bits."""

from __future__ import annotations

import io
import math
import os
import random
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch

from subspace_bench.records.config import RunConfig, TrainingConfig
from subspace_bench.training.checkpoint import (
    Checkpoint,
    DamagedCheckpoint,
    TrainingState,
    sealed,
    verified,
)
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


@pytest.fixture(scope="module")
def saved(digits, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The checkpoint of DIRECT after 4 updates."""
    path = tmp_path_factory.mktemp("saved") / "run.checkpoint"
    asked = count(1)
    with pytest.raises(Interrupted):
        train(DIRECT, digits, path, should_stop=lambda: next(asked) == 4)
    return path.read_bytes()


def load(path: Path, data: bytes, run: RunConfig = DIRECT) -> TrainingState | None:
    """Loads a checkpoint file with these bytes."""
    path.write_bytes(data)
    net = prepare(run)
    return Checkpoint(path, run).load(make_optimizer(run, net), net.module)


def test_no_flipped_bit_and_no_truncation_passes(saved: bytes, tmp_path: Path) -> None:
    path, draw = tmp_path / "run.checkpoint", random.Random(0)
    state = load(path, saved)
    assert state is not None
    assert state.updates == 4
    for _ in range(400):
        flipped = bytearray(saved)
        flipped[draw.randrange(len(saved))] ^= 1 << draw.randrange(8)
        path.write_bytes(flipped)
        with pytest.raises(DamagedCheckpoint):
            Checkpoint(path, DIRECT).load(None, None)  # fails before it restores anything
    for size in (0, 1, 40, 60, len(saved) // 2, len(saved) - 1):
        with pytest.raises(DamagedCheckpoint):
            load(path, saved[:size])
    with pytest.raises(DamagedCheckpoint):
        load(path, saved + b"0")


NONSENSE = {
    "no content": lambda c: c.clear(),
    "another run": lambda c: c.update(run="0" * 64),
    "no state": lambda c: c.pop("state"),
    "more updates than steps": lambda c: c["state"].update(updates=10**6),
    "other updates": lambda c: c["state"].update(updates=5),
    "no updates": lambda c: c["state"].update(updates=0),
    "negative updates": lambda c: c["state"].update(updates=-4),
    "updates of text": lambda c: c["state"].update(updates="4"),
    "huge updates": lambda c: c["state"].update(updates=10**400),
    "true updates": lambda c: c["state"].update(updates=True),
    "infinite seconds": lambda c: c["state"].update(seconds=math.inf),
    "no curve": lambda c: c["state"].update(curve=[]),
    "curve of text": lambda c: c["state"].update(curve=[[1, "ten", 2.3], [4, 11.0, 2.3]]),
    "accuracy of 150%": lambda c: c["state"]["curve"][0].__setitem__(1, 150.0),
    "loss of NaN": lambda c: c["state"]["curve"][0].__setitem__(2, math.nan),
    "curve of other updates": lambda c: c["state"]["curve"][0].__setitem__(0, 2),
    "unknown result": lambda c: c["state"]["extra"].update(accuracy=99.0),
    "early fingerprint": lambda c: c["state"]["extra"].update(sha256_at_200="0" * 64),
    "no optimizer": lambda c: c["optimizer"].pop("optimizer"),
    "other step of the optimizer": lambda c: c["optimizer"].update(updates=3),
    "θ of another shape": lambda c: c["optimizer"].update(theta=torch.zeros(5)),
    "θ of another type": lambda c: c["optimizer"].update(theta=c["optimizer"]["theta"].double()),
    "θ of text": lambda c: c["optimizer"].update(theta="0"),
    "infinite θ": lambda c: c["optimizer"]["theta"][:1].fill_(math.inf),
    "NaN in a moment": lambda c: c["optimizer"]["optimizer"]["state"][0]["exp_avg"].fill_(math.nan),
    "no moments": lambda c: c["optimizer"]["optimizer"]["state"].clear(),
    "one moment": lambda c: c["optimizer"]["optimizer"]["state"][0].pop("exp_avg"),
    "other Adam step": lambda c: c["optimizer"]["optimizer"]["state"][0]["step"].fill_(9),
    "another rate": lambda c: c["optimizer"]["optimizer"]["param_groups"][0].update(eps=1.0),
    "no groups": lambda c: c["optimizer"]["optimizer"]["param_groups"].clear(),
    "unknown buffer": lambda c: c["buffers"].update(mean=torch.zeros(1)),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_whose_digest_fits_is_found(name: str, saved: bytes, tmp_path: Path) -> None:
    content = torch.load(io.BytesIO(verified(saved)), weights_only=True)
    NONSENSE[name](content)
    file = io.BytesIO()
    torch.save(content, file)
    with pytest.raises(DamagedCheckpoint):
        load(tmp_path / "run.checkpoint", sealed(file.getvalue()))


def test_no_code_runs_from_a_checkpoint(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "run",)

    file = io.BytesIO()
    torch.save({"run": DIRECT.hash, "state": Malicious()}, file)
    with pytest.raises(DamagedCheckpoint):
        load(tmp_path / "run.checkpoint", sealed(file.getvalue()))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["flipped", "empty", "folder", "pipe"])
def test_a_damaged_checkpoint_costs_time_not_results(
    kind: str, saved: bytes, digits, tmp_path: Path, capfd
) -> None:
    path = tmp_path / "run.checkpoint"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(b"" if kind == "empty" else saved[:-9] + b"x" + saved[-8:])
    assert train(DIRECT, digits, path).result == train(DIRECT, digits).result
    [line] = capfd.readouterr().err.splitlines()
    assert str(path) in line


def test_the_checkpoint_of_another_run_is_not_used(digits, tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    with pytest.raises(Interrupted):
        train(replace(DIRECT, seed=3), digits, path, should_stop=lambda: True)
    assert train(DIRECT, digits, path).result == train(DIRECT, digits).result
