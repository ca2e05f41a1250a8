"""Training on Ray: nodes, workers and drivers die, and every record is there, bit for bit."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from cluster_runs import RUNS, needs

from subspace_bench.common.errors import UnfitMachine, UserError
from subspace_bench.records.config import RunConfig
from subspace_bench.records.mirror import Mirror
from subspace_bench.records.store import Store
from subspace_bench.training import cluster as guard
from subspace_bench.training import runner
from subspace_bench.training.cluster import Needs
from subspace_bench.training.executor import Event
from subspace_bench.training.runner import train_all

STORE_BYTES = 80 * 2**20  # of a node's object store
LONG = RUNS[0].with_steps(4_000)  # some seconds


def on_ray(cluster: Any, needed: Any = needs) -> Any:
    from subspace_bench.training.ray_executor import RayExecutor

    return RayExecutor(needed, cluster.address)


def ignore(event: Event[RunConfig]) -> None: ...


def results(store: Store) -> dict[RunConfig, Any]:
    return {record.run: record.result for record in store.records()}


def workers() -> list[psutil.Process]:
    """The processes of this cluster that carry out tasks now."""
    ours = psutil.Process().children(recursive=True)
    return [p for p in ours if p.is_running() and p.name().startswith("ray::call")]


def wait_for(condition: Any, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_node_dies(cluster, expected, tmp_path: Path) -> None:
    store, killed = Store(tmp_path), []

    def kill_a_node(event: Event[RunConfig]) -> None:
        if event.kind == "done" and not killed:
            killed.append(next(iter(cluster.worker_nodes)))
            cluster.remove_node(killed[0], allow_graceful=False)

    assert train_all(RUNS, store, None, 1, kill_a_node, on_ray(cluster)) == []
    assert killed
    assert results(store) == expected
    cluster.add_node(num_cpus=1, memory=4e9, object_store_memory=STORE_BYTES)


def test_a_worker_is_killed_as_when_memory_runs_out(cluster, tmp_path: Path) -> None:
    store = Store(tmp_path)
    with on_ray(cluster) as executor:
        task = functools.partial(runner.train_and_store, folder=tmp_path, data_root=None)
        future = executor.submit(task, LONG)
        wait_for(lambda: list(tmp_path.glob(".*.lock")))  # it trains
        [worker] = workers()
        worker.kill()
        assert wait([future], 120).done
        assert future.result().result == store.get(LONG).result


def test_a_run_that_fails_is_reported_and_the_others_go_on(cluster, expected, tmp_path) -> None:
    bad = replace(RUNS[0], dim=10**6, projector="gaussian")
    [failure] = train_all([bad, RUNS[0]], Store(tmp_path), None, 1, ignore, on_ray(cluster))
    assert failure.case == bad
    assert results(Store(tmp_path)) == {RUNS[0]: expected[RUNS[0]]}


def test_the_driver_is_killed_and_starts_again(cluster, expected, tmp_path: Path) -> None:
    script = Path(__file__).with_name("driver.py")
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(script), cluster.address, str(tmp_path)]
    driver = subprocess.Popen(command, env=path)
    wait_for(lambda: list(tmp_path.glob("*.json")))
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert train_all(RUNS, Store(tmp_path), None, 1, ignore, on_ray(cluster)) == []
    assert results(Store(tmp_path)) == expected


def test_an_interruption_ends_it_and_nodes_without_a_shared_folder_use_the_mirror(
    cluster, expected, tmp_path: Path
) -> None:
    def interrupt(event: Event[RunConfig]) -> None:
        raise KeyboardInterrupt

    store, mirror = Store(tmp_path / "here"), Mirror(f"file://{tmp_path}/there")
    with pytest.raises(KeyboardInterrupt):
        train_all(RUNS[:2], store, None, 1, interrupt, on_ray(cluster), mirror)
    assert train_all(RUNS[:2], store, None, 1, ignore, on_ray(cluster), mirror) == []
    assert results(store) == results(Store(tmp_path / "there"))
    assert results(store) == {run: expected[run] for run in RUNS[:2]}


def test_unfit_nodes_are_refused(cluster, tmp_path: Path, monkeypatch) -> None:
    store = Store(tmp_path)
    elsewhere = replace(RUNS[0], dataset="mnist")
    with pytest.raises(UnfitMachine):
        train_all([RUNS[1], elsewhere], store, tmp_path / "no", 1, ignore, on_ray(cluster))
    with pytest.raises(UserError):
        train_all(RUNS, store, None, 1, ignore, on_ray(cluster, lambda run: Needs(1, 1e13, 1.0)))
    with monkeypatch.context() as patch:
        patch.setattr(guard, "NUMERICS", 0)
        with pytest.raises(UnfitMachine, match="NUMERICS"):
            train_all(RUNS, store, None, 1, ignore, on_ray(cluster))
    with pytest.raises(UnfitMachine):
        train_all(RUNS, Store(Path("/proc/none")), None, 1, ignore, on_ray(cluster))


def test_a_cluster_that_does_not_answer() -> None:
    from subspace_bench.training.ray_executor import RayExecutor

    for address in ("127.0.0.1:1", "nowhere", "127.0.0.1:99999"):
        with pytest.raises(UserError):
            RayExecutor(needs, address)
