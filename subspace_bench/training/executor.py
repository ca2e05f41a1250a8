"""Runs cases with an executor: training runs, timings, trials.

The interface is `concurrent.futures.Executor`: a `WorkerPool` here, or one for a cluster.
"""

from __future__ import annotations

import itertools
import queue
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import CancelledError, Executor, Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from subspace_bench.common import errors
from subspace_bench.common.interruption import raise_if_interrupted, uninterrupted
from subspace_bench.training.worker_main import emit, should_stop
from subspace_bench.training.worker_pool import TimeLimitExceeded, WorkerDied, WorkerPool

__all__ = [
    "Event",
    "TimeLimitExceeded",
    "WorkerDied",
    "WorkerPool",
    "describe_failure",
    "emit",
    "run_all",
    "should_stop",
]

POLL_SECONDS = 0.2  # between looks for a signal

C = TypeVar("C", bound=Hashable)


@dataclass(frozen=True)
class Event(Generic[C]):
    """A change in the state of a case.

    Attributes:
        kind: "started", "progress", "done" or "failed".
        value: what the task emitted ("progress"), its result ("done") or exception ("failed").
    """

    kind: str
    case: C
    value: Any = None

    @property
    def reason(self) -> str:
        """Why the case failed, in one line."""
        return describe_failure(self.value)


def run_all(
    cases: Sequence[C],
    carry_out: Callable[[C], Any],
    executor: Executor,
    on_event: Callable[[Event[C]], None] = lambda event: None,
) -> list[Event[C]]:
    """Runs the cases, started in order, and returns the "failed" events.

    Arguments:
        carry_out: a picklable function, called with one case in a worker.
        executor: decides where and how many at a time. At most its `max_workers` cases are
            submitted at once, or all if it has none. A `WorkerPool` also reports when a case
            starts and what it emits; with other executors "started" means submitted.
        on_event: called with every event, in the calling thread.

    Raises:
        UnfitMachine: if a worker's machine cannot carry out any case, or cannot store its result,
            as on a full disk; no further case starts.
        KeyboardInterrupt: if a signal arrived.
    """
    events: queue.SimpleQueue[Event[C]] = queue.SimpleQueue()
    futures: list[Future[Any]] = []
    failures: list[Event[C]] = []
    pending = iter(cases)

    def begin(count: int) -> None:
        for case in itertools.islice(pending, count):
            futures.append(_submit(case, carry_out, executor, events))

    ended = 0
    with uninterrupted():  # signals are asked for: an exception anywhere could leave a lock held
        try:
            begin(getattr(executor, "max_workers", len(cases)))
            while ended < len(cases):
                raise_if_interrupted()
                try:
                    event = events.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    continue
                if event.kind == "failed":
                    if isinstance(event.value, errors.UnfitMachine):
                        raise event.value
                    failures.append(event)
                if event.kind in ("done", "failed"):
                    ended += 1
                    begin(1)
                on_event(event)
            raise_if_interrupted()
        finally:
            for future in futures:
                future.cancel()
    return failures


def _submit(
    case: C,
    carry_out: Callable[[C], Any],
    executor: Executor,
    events: queue.SimpleQueue[Event[C]],
) -> Future[Any]:
    """Submits one case and puts its events into `events`."""

    def listen(kind: str, value: Any) -> None:
        events.put(Event(kind, case, value))

    def ended(future: Future[Any]) -> None:
        failure = CancelledError("cancelled") if future.cancelled() else future.exception()
        if failure is None:
            events.put(Event("done", case, future.result()))
        else:
            events.put(Event("failed", case, failure))

    if isinstance(executor, WorkerPool):
        future = executor.submit_with_listener(listen, carry_out, case)
    else:
        listen("started", None)
        future = executor.submit(carry_out, case)
    future.add_done_callback(ended)
    return future


def describe_failure(failure: BaseException) -> str:
    """Describes why a case failed, in one line."""
    if isinstance(failure, WorkerDied | TimeLimitExceeded):
        return str(failure)
    return errors.describe_failure(failure)
