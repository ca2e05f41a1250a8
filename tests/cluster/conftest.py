"""A Ray cluster of three nodes on this machine."""

from __future__ import annotations

import os

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 (Ray's own 15 starves workers on a busy machine)

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from cluster_runs import RUNS

from subspace_bench.datasets.embedded import embedded_digits
from subspace_bench.records.config import RunConfig
from subspace_bench.training.loop import train

STORE_BYTES = 80 * 2**20  # of each node's object store


@contextlib.contextmanager
def keep_sigterm() -> Iterator[None]:
    """Undoes that a node makes SIGTERM end this process, which other tests send to it."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(autouse=True)
def sigterm() -> Iterator[None]:
    """Tests add nodes, too."""
    with keep_sigterm():
        yield


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A head without CPUs, and two nodes of one CPU, each with processes of its own."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    with keep_sigterm():
        made = cluster_utils.Cluster()
        made.add_node(num_cpus=0, object_store_memory=STORE_BYTES, include_dashboard=False)
        for _ in range(2):
            made.add_node(num_cpus=1, memory=4e9, object_store_memory=STORE_BYTES)
    yield made
    made.shutdown()


@pytest.fixture(scope="session")
def expected() -> dict[RunConfig, dict[str, Any]]:
    """The result of each run, trained in this process."""
    return {run: train(run, embedded_digits()).result for run in RUNS}
