"""Training in workers: equal records for any number of them, and checkpoints when interrupted."""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from subspace_bench.common.errors import Unwritable
from subspace_bench.records.config import RunConfig, TrainingConfig
from subspace_bench.records.store import Record, Store
from subspace_bench.training import runner, worker_pool
from subspace_bench.training.executor import Event
from subspace_bench.training.runner import train_all, train_and_store

pytestmark = pytest.mark.usefixtures("forked_workers")
RUN = RunConfig(
    "mlp-16",
    "default",
    TrainingConfig(steps=8, batch=64, lr=3e-3, score_every=4),
    dataset="mnist-5k",
)
RUNS = [
    RUN,
    replace(RUN, seed=1),
    replace(RUN, dim=20, projector="gaussian"),
    replace(RUN, dim=20, projector="orthonormal", origin="zero"),
]


def ignore(event: Event[RunConfig]) -> None: ...


@pytest.mark.slow
def test_records_do_not_depend_on_jobs_or_order(tmp_path: Path) -> None:
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    assert train_all(RUNS, one, None, 1, ignore) == []
    assert train_all(RUNS[::-1], two, None, 2, ignore) == []
    assert len(list(one.records())) == len(RUNS)
    for a, b in zip(one.records(), two.records(), strict=True):
        assert a.run == b.run
        assert a.result == b.result
    assert not list(one.folder.glob("*.checkpoint"))


@pytest.mark.slow
def test_a_run_that_fails_is_reported_and_the_others_go_on(tmp_path: Path) -> None:
    events: list[Event[RunConfig]] = []
    bad = replace(RUN, dim=10**6, projector="gaussian")
    [failure] = train_all([bad, RUN], Store(tmp_path), None, 1, events.append)
    assert failure.case == bad
    assert "12,730" in failure.reason
    assert [e.kind for e in events if e.case == bad] == ["started", "failed"]
    [done] = [e for e in events if e.kind == "done"]
    [record] = Store(tmp_path).records()
    assert isinstance(done.value, Record)
    assert done.value.result == record.result
    assert record.run == RUN


@pytest.mark.slow
def test_an_unwritable_folder_stops_everything(tmp_path: Path) -> None:
    events: list[Event[RunConfig]] = []
    (tmp_path / "file").write_text("in the way of a folder")
    with pytest.raises(Unwritable):
        train_all(RUNS, Store(tmp_path / "file"), None, 1, events.append)
    assert [e.kind for e in events if e.kind != "progress"] == ["started"]


@pytest.mark.slow
def test_a_worker_that_is_killed_is_reported_and_replaced(tmp_path: Path) -> None:
    long = RUN.with_steps(100_000)

    def kill(event: Event[RunConfig]) -> None:
        if event.kind == "progress" and event.case == long:
            for child in multiprocessing.active_children():
                assert child.pid is not None
                os.kill(child.pid, signal.SIGKILL)

    failures = train_all([long, RUN], Store(tmp_path), None, 1, kill)
    assert [f.case for f in failures] == [long]
    assert Store(tmp_path).get(RUN) is not None


@pytest.mark.parametrize(("device", "raised"), [("cpu", KeyError), ("cuda", RuntimeError)])
def test_gpu_peak_memory_is_per_run(tmp_path: Path, monkeypatch, device, raised) -> None:
    def reset() -> None:
        raise RuntimeError

    monkeypatch.setattr("torch.cuda.reset_peak_memory_stats", reset)
    monkeypatch.setattr(runner, "load_dataset", lambda name, root: {}["not read"])
    with pytest.raises(raised):
        train_and_store(replace(RUN, device=device), tmp_path, None)


@pytest.mark.slow
def test_an_interruption_leaves_a_checkpoint_of_what_was_in_progress(tmp_path: Path) -> None:
    long = RUN.with_steps(100_000)

    def interrupt(event: Event[RunConfig]) -> None:
        if event.kind == "progress":
            raise KeyboardInterrupt

    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train_all([long], store, None, 1, interrupt)
    assert store.checkpoint(long).exists()
    assert store.get(long) is None
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_callers_with_one_store_train_each_run_once(tmp_path: Path) -> None:
    """Workers claim runs, so callers in threads compete as those in processes do."""

    def train_some(_: int) -> tuple[set[RunConfig], int]:
        trained = set()

        def on_event(event: Event[RunConfig]) -> None:
            if event.kind == "progress":
                trained.add(event.case)

        failures = train_all(RUNS, Store(tmp_path), None, 1, on_event)
        return trained, len(failures)

    with ThreadPoolExecutor(3) as callers:
        reports = list(callers.map(train_some, range(3)))
    assert sorted(run.name for trained, _ in reports for run in trained) == sorted(
        run.name for run in RUNS
    )
    assert [failed for _, failed in reports] == [0, 0, 0]
    assert {path.name for path in tmp_path.iterdir()} == {f"{run.name}.json" for run in RUNS}


def hold(folder: Path, held) -> None:
    with Store(folder).claim(RUN):
        held.set()
        held.wait()
        signal.pause()


@pytest.mark.slow
def test_a_run_of_a_process_that_dies_is_taken_over(tmp_path: Path) -> None:
    context = worker_pool.CONTEXT
    held = context.Event()
    holder = context.Process(target=hold, args=(tmp_path, held))
    holder.start()
    assert held.wait(60)
    kinds = []

    def on_event(event: Event[RunConfig]) -> None:
        kinds.append((event.case.seed, event.kind))
        if event.kind == "claimed":
            os.kill(holder.pid, signal.SIGKILL)

    assert train_all(RUNS[:2], Store(tmp_path), None, 1, on_event) == []
    holder.join()
    assert kinds.count((0, "claimed")) == 1
    assert [seed for seed, kind in kinds if kind == "done"] == [1, 0]  # the free run first
    assert len(list(Store(tmp_path).records())) == 2


def test_a_run_that_was_recorded_meanwhile_is_not_trained_again(tmp_path: Path) -> None:
    first = train_and_store(RUN, tmp_path, None)
    assert train_and_store(RUN, tmp_path, None).provenance == first.provenance
