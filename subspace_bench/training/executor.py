"""How runs are carried out: in worker processes, `jobs` at a time, cheap ones first.

Every run sets its own threads and random streams, so which worker carries it out, beside what
and in which order, changes no bit of its record.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event as StopFlag
from pathlib import Path
from typing import TYPE_CHECKING, Any

from subspace_bench.common.errors import Unwritable, UserError
from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Store

if TYPE_CHECKING:
    from subspace_bench.datasets.dataset import Dataset

LONGEST_STEP = 15.0  # seconds, the scoring of a large net included
CONTEXT = multiprocessing.get_context("spawn")  # forking a process with thread pools is unsafe


@dataclass(frozen=True)
class Event:
    """What a worker tells.

    Attributes:
        kind: "started", "progress", "done", "failed", "refused" (records cannot be kept) or
            "stopped".
    """

    kind: str
    run: RunConfig
    updates: int = 0
    accuracy: float | None = None
    seconds: float = 0.0
    reason: str = ""


@dataclass
class Worker:
    process: SpawnProcess
    pipe: Connection
    run: RunConfig | None = None


def run_all(
    runs: list[RunConfig],
    store: Store,
    data_root: Path | None,
    jobs: int,
    on_event: Callable[[Event], None],
) -> list[Event]:
    """Trains the runs in their order, keeps their records in `store`, and returns the failures.

    Arguments:
        runs: those to train; none of them needs to lack a record.
        jobs: how many at a time.
        on_event: gets every event of every worker, in this process.

    Raises:
        KeyboardInterrupt: after all workers have written their checkpoints.
        Unwritable: likewise, where records cannot be kept, as on a full disk.
    """
    waiting = list(runs)
    failures: list[Event] = []
    stop = CONTEXT.Event()
    workers = [start_worker(store.folder, data_root, stop) for _ in range(min(jobs, len(runs)))]
    try:
        while True:
            for i, worker in enumerate(workers):
                if worker.run is None and waiting:
                    if not worker.process.is_alive():
                        workers[i] = worker = start_worker(store.folder, data_root, stop)
                    worker.pipe.send(waiting[0])
                    worker.run = waiting.pop(0)
                    on_event(Event("started", worker.run))
            busy = [w for w in workers if w.run is not None]
            if not busy:
                return failures
            ready = wait([w.pipe for w in busy])
            for worker in busy:
                if worker.pipe in ready:
                    event = receive(worker)
                    if event.kind == "refused":
                        worker.run = None
                        raise Unwritable(event.reason)
                    if event.kind in ("done", "failed"):
                        worker.run = None
                    if event.kind == "failed":
                        failures.append(event)
                    on_event(event)
    finally:
        stop.set()
        for worker in workers:
            settle(worker)
        for worker in workers:
            worker.pipe.close()
            worker.process.join()


def settle(worker: Worker) -> None:
    """Waits until a worker that was told to stop has written its checkpoint.

    One that is still setting up, which can take a minute, has nothing to write and is ended.
    """
    while worker.run is not None:
        if not worker.pipe.poll(LONGEST_STEP):
            worker.process.terminate()
            return
        if receive(worker).kind != "progress":
            worker.run = None


def receive(worker: Worker) -> Event:
    """The worker's next event; that it died, where it has none."""
    assert worker.run is not None
    try:
        event: Event = worker.pipe.recv()
        return event
    except (EOFError, OSError):
        worker.process.join()
        code = worker.process.exitcode
        hint = ", killed: out of memory?" if code == -signal.SIGKILL else ""
        return Event("failed", worker.run, reason=f"its process ended with code {code}{hint}")


def start_worker(folder: Path, data_root: Path | None, stop: StopFlag) -> Worker:
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=work, args=(theirs, folder, data_root, stop), daemon=True)
    # The parent hears Ctrl-C and sets `stop`; a child inherits that it is to ignore it.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    process.start()
    signal.signal(signal.SIGINT, before)
    theirs.close()
    return Worker(process, ours)


def work(pipe: Connection, folder: Path, data_root: Path | None, stop: StopFlag) -> None:
    """A worker's life: take a run, train it, keep its record, until the pipe closes."""
    try:
        while True:
            run: RunConfig = pipe.recv()
            pipe.send(carry_out_one(run, Store(folder), data_root, pipe, stop))
    except (EOFError, OSError):  # the parent is done, or gone
        return


def carry_out_one(
    run: RunConfig, store: Store, data_root: Path | None, pipe: Connection, stop: StopFlag
) -> Event:
    """Trains one run and keeps its record."""
    from subspace_bench.common.hardware import reset_peak_memory
    from subspace_bench.training.loop import Interrupted, Progress, train

    def tell(p: Progress) -> None:
        pipe.send(Event("progress", run, p.updates, p.accuracy, p.seconds))

    def should_stop() -> bool:
        return stop.is_set() or os.getppid() != parent  # a parent that was killed cannot tell

    parent = os.getppid()
    checkpoint = store.checkpoint(run)
    try:
        reset_peak_memory()
        if run.device == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats()
        dataset = load(run.dataset, data_root)
        record = train(run, dataset, checkpoint, tell, should_stop)
        store.put(record)
        checkpoint.unlink(missing_ok=True)
    except Interrupted:
        return Event("stopped", run)
    except Unwritable as failure:
        return Event("refused", run, reason=str(failure))
    except UserError as failure:
        return Event("failed", run, reason=str(failure))
    except MemoryError:
        return Event("failed", run, reason="out of memory: use fewer --jobs or a smaller d")
    except OSError as failure:  # a broken pipe ends the worker; anything else is a failure
        if isinstance(failure, BrokenPipeError):
            raise
        return Event("failed", run, reason=describe(failure))
    except Exception as failure:
        return Event("failed", run, reason=describe(failure))
    return Event("done", run, run.protocol.steps, record.result["accuracy"])


@functools.cache
def load(name: str, root: Path | None) -> Dataset:
    """The dataset, read once a worker."""
    from subspace_bench.datasets import loading

    return loading.load(name, root)


def describe(failure: Exception) -> str:
    """An unexpected failure in one line."""
    first: Any = (str(failure).splitlines() or [""])[0]
    return f"{type(failure).__name__}: {first}"
