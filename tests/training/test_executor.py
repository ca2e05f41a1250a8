"""The worker pool: results, isolated failures, time limits, events, shutdown."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from subspace_bench.common.errors import Unwritable, UserError
from subspace_bench.common.interruption import SIGNALS, handled_signals
from subspace_bench.training.executor import (
    Event,
    TimeLimitExceeded,
    WorkerDied,
    WorkerPool,
    emit,
    run_all,
    should_stop,
)

PLANTED: list[int] = []


def square(n: int) -> int:
    return n * n


def worker_id(_: int = 0) -> int:
    return os.getpid()


def plant(n: int) -> list[int]:
    PLANTED.append(n)
    return PLANTED


def unpicklable(_: int) -> object:
    return lambda: None


def misbehave(what: str) -> str:
    match what:
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(3)
        case "user":
            raise UserError("not so")
        case "leave":
            sys.exit("not so")
        case "error":
            raise ValueError("first line\nsecond line")
        case "memory":
            raise MemoryError
        case "full":
            raise Unwritable("no space")
        case "sleep":
            time.sleep(60)
    return what


def count_until_stopped(path: str) -> str:
    """Works until it is asked to end, and leaves a file then."""
    n = 0
    while not should_stop():
        n += 1
        emit(n)
        time.sleep(0.01)
    with open(path, "w") as file:
        file.write(str(n))
    return "stopped"


def emit_twice(n: int) -> int:
    emit(n)
    emit(n + 1)
    return n + 2


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    """A shared pool, because starting a worker takes a second."""
    with WorkerPool(1) as pool:
        yield pool


def test_it_is_an_executor_with_workers_that_are_reused(pool: WorkerPool) -> None:
    assert list(pool.map(square, range(5))) == [0, 1, 4, 9, 16]
    assert pool.submit(int, "11", base=2).result() == 3
    first, second = pool.submit(worker_id).result(), pool.submit(worker_id).result()
    assert first == second != os.getpid()


def test_emit_and_should_stop_do_nothing_outside_a_worker() -> None:
    emit("heard by nobody")
    assert not should_stop()


@pytest.mark.parametrize(
    ("what", "kind", "reason"),
    [
        ("killed", WorkerDied, "its process ended with code -9, killed: out of memory?"),
        ("exit", WorkerDied, "its process ended with code 3"),
        ("user", UserError, "not so"),
        ("leave", RuntimeError, "RuntimeError: SystemExit: not so"),
        ("error", ValueError, "ValueError: first line"),
        ("memory", MemoryError, "out of memory: use fewer --jobs or a smaller d"),
    ],
)
def test_a_failure_affects_one_case_only(pool: WorkerPool, what, kind, reason) -> None:
    events: list[Event[str]] = []
    [failure] = run_all([what, "fine"], misbehave, pool, events.append)
    assert (failure.case, failure.reason) == (what, reason)
    assert isinstance(failure.value, kind)
    assert [(e.kind, e.case) for e in events] == [
        ("started", what), ("failed", what), ("started", "fine"), ("done", "fine"),
    ]  # fmt: skip


def test_unpicklable_results_fail_without_hanging(pool: WorkerPool) -> None:
    with pytest.raises(Exception, match=r"pickle"):
        pool.submit(lambda: 1).result(60)
    with pytest.raises(Exception, match=r"pickle"):
        pool.submit(unpicklable, 1).result(60)
    assert pool.submit(square, 3).result() == 9


def test_a_worker_that_dies_between_tasks_is_replaced(pool: WorkerPool) -> None:
    os.kill(pool.submit(worker_id).result(), signal.SIGKILL)
    time.sleep(0.1)
    assert pool.submit(square, 3).result() == 9


def test_an_unwritable_folder_stops_everything(pool: WorkerPool) -> None:
    events: list[Event[str]] = []
    with pytest.raises(Unwritable, match="no space"):
        run_all(["full", "sleep"], misbehave, pool, events.append)
    assert [e.kind for e in events] == ["started"]


def test_events_come_in_order_before_the_result(pool: WorkerPool) -> None:
    events: list[Event[int]] = []
    assert run_all([1, 5], emit_twice, pool, events.append) == []
    assert [(e.kind, e.case, e.value) for e in events] == [
        ("started", 1, None), ("progress", 1, 1), ("progress", 1, 2), ("done", 1, 3),
        ("started", 5, None), ("progress", 5, 5), ("progress", 5, 6), ("done", 5, 7),
    ]  # fmt: skip


def test_other_executors_work() -> None:
    events: list[Event[str]] = []
    with ThreadPoolExecutor(1) as threads:
        [failure] = run_all(["user", "fine"], misbehave, threads, events.append)
    assert failure.reason == "not so"
    assert sorted(e.kind for e in events) == ["done", "failed", "started", "started"]


def test_a_task_that_takes_too_long_is_killed() -> None:
    with WorkerPool(1, time_limit=lambda what: 0.2 if what == "sleep" else 60) as pool:
        sleeping, fine = pool.submit(misbehave, "sleep"), pool.submit(misbehave, "fine")
        with pytest.raises(TimeLimitExceeded):
            sleeping.result()
        assert fine.result() == "fine"


def test_each_task_can_have_a_new_process() -> None:
    with WorkerPool(1, tasks_per_worker=1) as pool:
        assert list(pool.map(plant, (1, 2))) == [[1], [2]]


def test_stopped_tasks_end_themselves_and_pending_ones_do_not_begin(tmp_path) -> None:
    kept, others = tmp_path / "kept", multiprocessing.active_children()

    def interrupt(event: Event[str]) -> None:
        if event.kind == "progress":
            raise KeyboardInterrupt

    cases = [str(kept), str(tmp_path / "pending")]
    with pytest.raises(KeyboardInterrupt), WorkerPool(1) as pool:
        run_all(cases, count_until_stopped, pool, interrupt)
    assert int(kept.read_text()) >= 1
    assert list(tmp_path.iterdir()) == [kept]
    assert multiprocessing.active_children() == others


@pytest.mark.slow
def test_a_signal_whose_exception_was_lost_is_noticed(pool: WorkerPool, monkeypatch) -> None:
    class Swallows:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)  # ends at the signal

    monkeypatch.setattr(sys, "unraisablehook", lambda ignored: None)  # else pytest fails
    with handled_signals():
        Swallows()
        with pytest.raises(KeyboardInterrupt):
            run_all(["fine"], misbehave, pool)


def test_a_worker_obeys_the_pool_and_no_signal(tmp_path) -> None:
    kept, others = tmp_path / "kept", set(multiprocessing.active_children())
    pool = WorkerPool(1)
    events: list[str] = []
    future = pool.submit_with_listener(
        lambda kind, value: events.append(kind), count_until_stopped, str(kept)
    )
    while "progress" not in events:
        time.sleep(0.01)
    workers = set(multiprocessing.active_children()) - others
    assert workers
    for worker, number in itertools.product(workers, SIGNALS):
        os.kill(worker.pid or 0, number)
    time.sleep(0.1)
    assert not future.done()
    pool.stop()
    pool.shutdown()
    assert future.result() == "stopped"
    assert int(kept.read_text()) >= 1


def test_shutdown_can_cancel_what_is_pending(tmp_path) -> None:
    pool = WorkerPool(1)
    running = pool.submit(misbehave, "fine")
    pending = [pool.submit(square, n) for n in range(50)]
    pool.shutdown(cancel_futures=True)
    assert running.cancelled() or running.result() == "fine"
    with pytest.raises(CancelledError):
        pending[-1].result()
    with pytest.raises(RuntimeError, match="shut down"):
        pool.submit(square, 1)


def test_without_grace_a_stopped_task_is_killed_at_once() -> None:
    pool = WorkerPool(1, stop_seconds=0)
    future = pool.submit(misbehave, "sleep")
    while not future.running():
        time.sleep(0.01)
    pool.stop()
    start = time.monotonic()
    pool.shutdown()
    assert time.monotonic() - start < 10
    assert future.exception() is not None
