"""Shared fixtures: 5,000 real digits, the committed records, one torch thread."""

from __future__ import annotations

import multiprocessing
import os
import sys

# Before NumPy is imported, here and in the processes of tests: OpenBLAS and OpenMP wait for their
# threads in loops, which takes 50 times the CPU time of the small matrices here where other tests
# run beside.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import pytest
import torch

from subspace_bench.datasets.dataset import Dataset
from subspace_bench.datasets.embedded import embedded_digits
from subspace_bench.records.committed import committed_store
from subspace_bench.records.store import Record
from subspace_bench.training import worker_pool


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests marked `cuda` on machines without a CUDA device."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """The embedded 5,000 digits."""
    return embedded_digits()


@pytest.fixture(scope="session")
def committed_records() -> list[Record]:
    """All records in results/records, read once."""
    return list(committed_store().records())


@pytest.fixture(scope="module")
def forked_workers():
    """Workers start as forks of a process that has imported torch, which saves 5 s of CPU each.

    They see the environment variables of the first test that uses this. Tests that start commands
    in processes of their own have spawned workers, as users do.
    """
    if sys.platform != "linux":
        yield
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        # torch's optimizers import torch._dynamo.
        ["subspace_bench.training.loop", "subspace_bench.profiling.timing", "torch._dynamo"]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_pool, "CONTEXT", context)
        yield


@pytest.fixture(autouse=True)
def outside_nox(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands in messages as outside a nox session, in which these tests usually run."""
    monkeypatch.delenv("NOX_CURRENT_SESSION", raising=False)


@pytest.fixture(autouse=True)
def one_thread():
    """Every test starts with one torch thread; a test that changes the number may leave it so."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
