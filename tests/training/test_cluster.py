"""What a task checks and sets on another machine, before it is unpickled."""

from __future__ import annotations

import os
import pickle
import sys
from concurrent.futures import Future
from pathlib import Path

import pytest

from subspace_bench.cli.executors import open_executor
from subspace_bench.common.errors import UnfitMachine, UserError
from subspace_bench.training.cluster import THREAD_VARIABLES, Needs, Task, settle, versions
from subspace_bench.training.runner import mark, require_shared


def task(fn, *args: object, **changed: str) -> Task:
    return Task(pickle.dumps((fn, args, {})), threads=3, versions={**versions(), **changed})


@pytest.fixture
def threads(monkeypatch) -> None:
    """Restores the variables that a task sets."""
    for name in THREAD_VARIABLES:
        monkeypatch.setenv(name, "1")


def test_a_task_limits_threads_and_returns_what_happened(threads) -> None:
    assert task(os.getenv, "OMP_NUM_THREADS")() == ("3", None)
    value, failure = task(int, "x")()
    assert value is None
    assert isinstance(failure, ValueError)


@pytest.mark.parametrize("name", ["subspace-bench", "NUMERICS", "Python", "torch"])
def test_another_version_is_refused_before_anything_is_unpickled(name: str, threads) -> None:
    refused = Task(b"not read", 1, {**versions(), name: "0"})
    _, failure = refused()
    assert isinstance(failure, UnfitMachine)
    assert name in str(failure)


def test_an_outcome_that_is_lost_fails_its_future_only() -> None:
    lost, cancelled = Future[int](), Future[int]()
    settle(lost, lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    assert isinstance(lost.exception(), ZeroDivisionError)
    cancelled.cancel()
    settle(cancelled, lambda: (1, None))
    assert cancelled.cancelled()


def test_a_folder_that_is_not_shared_is_refused(tmp_path: Path) -> None:
    with mark(tmp_path) as marked:
        assert require_shared(lambda run: run, marked, 5) == 5
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UnfitMachine):
        require_shared(lambda run: run, marked, 5)


def test_executors_that_cannot_be_used(tmp_path: Path, monkeypatch) -> None:
    def needs(run: object) -> Needs:
        return Needs(1, 1e9, 1.0)

    for name, module in (("ray", "ray"), ("submitit", "submitit")):
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.delitem(sys.modules, f"subspace_bench.training.{name}_executor", raising=False)
        with pytest.raises(UserError, match=r"^[^\n]*$"):
            open_executor(name, needs, None, None, tmp_path)
