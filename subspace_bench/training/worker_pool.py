"""A pool of spawned worker processes that survives the death of a worker.

`WorkerPool` is a `concurrent.futures.Executor`. It also limits the time of a task, can
run each task in a new process, forwards events that a running task emits, and asks tasks to end
when it is stopped.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, TypeVar

from subspace_bench.common.interruption import (
    block_signals,
    raise_if_interrupted,
    uninterrupted,
)
from subspace_bench.training import worker_main

CONTEXT = multiprocessing.get_context("spawn")  # forking a process with thread pools is unsafe
STOP_SECONDS = 15.0  # a worker asked to stop is killed after this much silence
SET_UP_STOP_SECONDS = 1.0  # the same before its first event
FOREVER = float("inf")

T = TypeVar("T")
Listener = Callable[[str, Any], None]  # called with ("started", None) and ("progress", event)
TimeLimit = float | Callable[..., float] | None


class WorkerDied(RuntimeError):
    """The process of a task ended without a result: killed, crashed or out of memory."""


class TimeLimitExceeded(RuntimeError):
    """A task took longer than its time limit; its process was killed."""


@dataclass
class _Task:
    future: Future[Any]
    listen: Listener
    call: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
    time_limit: float


class WorkerPool(Executor):
    """Runs functions in spawned worker processes, which are reused.

    If a worker dies, only its task fails (`WorkerDied`) and the worker is replaced, whereas
    `ProcessPoolExecutor` breaks (`BrokenProcessPool`). An exception in the `with` block, such as
    KeyboardInterrupt, stops the tasks (see `stop`).

    Arguments:
        max_workers: tasks at a time; processes start on demand.
        time_limit: seconds after which a task's worker is killed and its future raises
            `TimeLimitExceeded`; or a function from the task's arguments to seconds.
        tasks_per_worker: tasks after which a worker is replaced; 1 gives each task a new process.
        stop_seconds: grace period of a stopped task (see `stop`); 0 if it has nothing to save.
    """

    def __init__(
        self,
        max_workers: int,
        time_limit: TimeLimit = None,
        tasks_per_worker: int | None = None,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self.max_workers, self.time_limit = max_workers, time_limit
        self.tasks_per_worker, self.stop_seconds = tasks_per_worker, stop_seconds
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._closed = False
        # Readable after `stop` and never read, so it wakes every thread that waits for a worker.
        self._stop_reader, self._stop_writer = CONTEXT.Pipe(duplex=False)
        self._stopping = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """The future of fn(*args, **kwargs), run in a worker."""
        return self.submit_with_listener(lambda kind, value: None, fn, *args, **kwargs)

    def submit_with_listener(
        self, listen: Listener, fn: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> Future[T]:
        """As `submit`; calls `listen` with the task's events, in a thread of the pool."""
        if self._closed:
            raise RuntimeError("cannot submit to a pool that was shut down")
        limit = self.time_limit
        seconds = limit(*args, **kwargs) if callable(limit) else limit
        future: Future[T] = Future()
        call = (fn, args, kwargs)
        self._tasks.put(_Task(future, listen, call, FOREVER if seconds is None else seconds))
        if len(self._threads) < self.max_workers:
            thread = threading.Thread(target=self._serve, daemon=True)
            with uninterrupted():  # `shutdown` cannot join a thread whose start was interrupted
                thread.start()
                self._threads.append(thread)
            raise_if_interrupted()
        return future

    def stop(self) -> None:
        """Asks running tasks to end (see `should_stop`); no further task starts.

        A task that neither ends nor emits anything for `stop_seconds` is killed. One that has not
        emitted anything yet has little to save, and is killed after SET_UP_STOP_SECONDS.
        """
        if not self._stopping:
            self._stopping = True
            self._stop_writer.send(None)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As in `concurrent.futures.Executor`: by default, pending tasks still run."""
        self._closed = True
        if cancel_futures:
            with contextlib.suppress(queue.Empty):
                while True:
                    if (task := self._tasks.get_nowait()) is not None:
                        task.future.cancel()
        for _ in self._threads:
            self._tasks.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.shutdown()
            return
        with uninterrupted():  # a second Ctrl-C must not leave before checkpoints are written
            self.stop()
            self.shutdown(cancel_futures=True)

    def _serve(self) -> None:
        """Runs in a thread: passes tasks to one worker, one at a time."""
        block_signals()  # also in the workers, which inherit it
        worker: _Worker | None = None
        while (task := self._tasks.get()) is not None:
            if self._stopping:
                task.future.cancel()
            if not task.future.set_running_or_notify_cancel():
                continue
            try:
                if worker is None or not worker.is_usable(self.tasks_per_worker):
                    if worker is not None:
                        worker.close()
                    worker = _Worker()
                task.listen("started", None)
                value = self._carry_out(worker, task)
            except BaseException as failure:
                if worker is not None and worker.busy:  # its result was lost or cannot be read
                    worker.kill()
                task.future.set_exception(failure)
            else:
                task.future.set_result(value)
        if worker is not None:
            worker.close()

    def _carry_out(self, worker: _Worker, task: _Task) -> Any:
        """The task's result, or the exception that it raised."""
        worker.begin(task.call)
        silence, stop_requested = FOREVER, False
        grace = min(SET_UP_STOP_SECONDS, self.stop_seconds)
        end = time.monotonic() + task.time_limit
        while True:
            watched = [worker.pipe] if stop_requested else [worker.pipe, self._stop_reader]
            seconds = min(end - time.monotonic(), silence)
            ready = wait(watched, None if seconds == FOREVER else max(0.0, seconds))
            if worker.pipe in ready:
                kind, value = worker.receive()
                if kind == "result":
                    return value
                if kind == "exception":
                    raise value
                task.listen("progress", value)
                grace = self.stop_seconds
            elif ready:
                worker.request_stop()
                silence, stop_requested = grace, True
            else:
                worker.kill()
                if stop_requested and time.monotonic() < end:
                    raise CancelledError("stopped during set-up")
                raise TimeLimitExceeded(f"longer than {task.time_limit:.0f} s")


class _Worker:
    """A worker process, seen from the pool."""

    reaping = threading.Lock()  # multiprocessing's list of children is not safe between threads

    def __init__(self) -> None:
        self.pipe, theirs = CONTEXT.Pipe()
        self.process: SpawnProcess = CONTEXT.Process(
            target=worker_main.run, args=(theirs,), daemon=True
        )
        with self.reaping:
            self.process.start()
        theirs.close()
        self.tasks, self.busy = 0, False

    def is_usable(self, tasks_per_worker: int | None) -> bool:
        """Whether the worker is alive and may take another task."""
        if tasks_per_worker is not None and self.tasks >= tasks_per_worker:
            return False
        with self.reaping:
            return not self.pipe.closed and self.process.is_alive()

    def begin(self, call: Any) -> None:
        """Sends a task; raises if it cannot be pickled."""
        message = pickle.dumps(call)
        self.tasks += 1
        self.busy = True
        with contextlib.suppress(OSError):  # if the worker died, `receive` raises
            self.pipe.send_bytes(message)

    def receive(self) -> tuple[str, Any]:
        """("event" or "result" or "exception", value).

        Raises:
            WorkerDied: if the process ended.
        """
        try:
            message = self.pipe.recv_bytes()
        except (EOFError, OSError):
            self.close()
        else:
            kind, value = pickle.loads(message)  # noqa: S301 (from our own worker)
            self.busy = kind == "event"
            return kind, value
        code = self.process.exitcode
        hint = ", killed: out of memory?" if code == -9 else ""
        raise WorkerDied(f"its process ended with code {code}{hint}")

    def request_stop(self) -> None:
        with contextlib.suppress(OSError):
            self.pipe.send_bytes(worker_main.STOP)

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def close(self) -> None:
        """Closes the pipe, so that the process ends, and waits for it."""
        self.busy = False
        self.pipe.close()
        wait([self.process.sentinel])
        with self.reaping:
            self.process.join()
