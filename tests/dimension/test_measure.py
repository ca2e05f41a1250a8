"""Whole searches of small tasks: from Python, from the command line, resumed, and misused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from subspace_bench import intrinsic_dimension
from subspace_bench.common.errors import UserError
from subspace_bench.dimension.task import load

TASK = """
import torch
from torch import nn

higher_is_better = False


def build(seed):
    return nn.Linear(30, 1, bias=False)


def train(net, seed):
    x = torch.randn(64, 30)
    y = x[:, :6].sum(1, keepdim=True)
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=20)

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(x), y)
        loss.backward()
        return loss

    optimizer.step(closure)
    return closure().item()
"""


def build(seed: int) -> nn.Module:
    return nn.Linear(50, 1, bias=False)


def train(net: nn.Module, seed: int) -> float:
    """One exact step of least squares: the score is the share of the target that is explained."""
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.eye(50), torch.randn(50, 1, generator=generator)
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=30)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(x), y)
        loss.backward()
        return loss

    optimizer.step(closure)
    return 100 * (1 - closure().item() / y.var().item())


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_answer_is_right_where_it_is_known(jobs: int) -> None:
    # A random d-dimensional subspace explains d / D of a random target on average.
    result = intrinsic_dimension(build, train, fraction=0.6, trainings=14, jobs=jobs)
    assert result.native == 50
    low, high = result.interval
    assert high is not None
    assert low <= 30 <= high
    assert result.dimension is not None
    assert result.bloat == 50 / result.dimension
    assert len(result.curve) == 14
    assert "50" in str(result)
    assert str(result.dimension) in result._repr_html_()


def test_the_same_call_gives_the_same_numbers() -> None:
    first, second = (intrinsic_dimension(build, train, trainings=6) for _ in range(2))
    pd.testing.assert_frame_equal(first.curve.drop(columns="seconds"),
                                  second.curve.drop(columns="seconds"))  # fmt: skip


def test_it_resumes_and_equals_an_uninterrupted_search(tmp_path: Path) -> None:
    def interrupted(net: nn.Module, seed: int) -> float:
        if seed == 5:
            raise KeyboardInterrupt
        return train(net, seed)

    whole = intrinsic_dimension(build, train, trainings=8)
    with pytest.raises(KeyboardInterrupt):
        intrinsic_dimension(build, interrupted, trainings=8, out=tmp_path)
    assert len(pd.read_csv(tmp_path / "trainings" / "task.csv")) == 3 + 5
    result = intrinsic_dimension(build, train, trainings=8, out=tmp_path)
    assert result.interval == whole.interval
    assert result.curve["score"].tolist() == whole.curve["score"].tolist()


def test_trainings_of_another_projector_are_not_mixed(tmp_path: Path) -> None:
    intrinsic_dimension(build, train, trainings=5, out=tmp_path)
    with pytest.raises(UserError):
        intrinsic_dimension(build, train, trainings=5, out=tmp_path, projector="sparse")


def test_a_narrow_interval_ends_the_search() -> None:
    result = intrinsic_dimension(build, train, fraction=0.6, trainings=40, width=3.0)
    assert result.interval[1] is not None
    assert len(result.curve) < 40


def test_out_of_time_keeps_what_is_finished(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        intrinsic_dimension(build, train, minutes=1e-9, out=tmp_path)


def test_a_task_that_ignores_its_seed_is_noticed() -> None:
    result = intrinsic_dimension(build, lambda net, seed: train(net, 0), trainings=5)
    assert len(result.notices) == 1


def raises(net: nn.Module, seed: int) -> float:
    raise RuntimeError("no data")


def falls(net: nn.Module, seed: int) -> float:
    return -train(net, seed)


@pytest.mark.parametrize(
    ("bad_build", "bad_train"),
    [
        (build, raises),
        (build, falls),
        (build, lambda net, seed: 1.0),  # trains nothing
        (build, lambda net, seed: train(net, seed) * float("nan")),
        (build, lambda net, seed: (train(net, seed), "good")[1]),
        (lambda seed: "net", train),
        (lambda seed: nn.Linear(50 + seed, 1, bias=False), lambda net, seed: 1.0),
        (lambda seed: nn.ReLU(), train),
        (raises, train),
    ],
)
def test_a_bad_task_ends_with_one_error(bad_build: object, bad_train: object) -> None:
    with pytest.raises(UserError):
        intrinsic_dimension(bad_build, bad_train, trainings=6)  # type: ignore[arg-type]


def dimension(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "subspace_bench", "dimension", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_the_command_writes_a_page_and_continues(tmp_path: Path) -> None:
    (tmp_path / "regression.py").write_text(TASK)
    arguments = ("regression.py", "--threshold", "1.0", "--trainings", "8", "--projector", "sparse")
    first = dimension(*arguments, folder=tmp_path)
    assert first.returncode == 0, first.stderr
    out = tmp_path / "dimension"
    page = (out / "dimension.md").read_text()
    (content,) = json.loads((out / "dimension.json").read_text())
    assert content["native"] == 30
    assert f"{content['dimension']:,}" in page
    assert (out / "figures" / "dimension-regression.svg").exists()
    again = dimension(*arguments, folder=tmp_path)
    assert again.returncode == 0
    assert (out / "dimension.md").read_text() == page


@pytest.mark.parametrize(
    "arguments",
    [["nowhere.py"], ["empty.py"], ["broken.py"], ["no.such.module:task"], ["empty.py", "empty.py"],
     ["empty.py", "--target", "2"]],
)  # fmt: skip
def test_bad_input_ends_with_two_and_one_line(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "broken.py").write_text("import nothing_of_this_name")
    failed = dimension(*arguments, folder=tmp_path)
    assert failed.returncode == 2
    assert len(failed.stderr.splitlines()) == 1
    assert not (tmp_path / "dimension").exists()


def test_a_task_of_a_package_is_loaded_by_name() -> None:
    with pytest.raises(UserError):
        load("json:decoder")
