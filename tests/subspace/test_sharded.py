"""ShardedSubspace on four real processes, which run all checks of sharded_checks.py."""

from __future__ import annotations

import multiprocessing

import pytest
import torch

sharded_checks = pytest.importorskip("sharded_checks")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """The failures of each rank: names of checks, and tracebacks."""
    folder = tmp_path_factory.mktemp("ranks")
    # A fork of this process would inherit the state of OpenMP's threads, and hang.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sharded_checks"])
    processes = [
        context.Process(target=sharded_checks.run_all, args=(rank, folder / "store", folder))
        for rank in range(sharded_checks.RANKS)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(600)
        process.kill()  # if it still runs
    return [torch.load(folder / f"{rank}.pt") for rank in range(sharded_checks.RANKS)]


@pytest.mark.parametrize("name", sharded_checks.CHECKS)
def test_on_four_processes(name: str, failures: list[dict[str, str]]) -> None:
    for each in failures:
        if name in each:
            pytest.fail(each[name])
