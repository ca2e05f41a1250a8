"""Trains runs in worker processes and stores their records.

Every run sets its threads and random streams, so its record does not depend on the worker, the
order, or what else is running.
"""

from __future__ import annotations

import contextlib
import functools
import secrets
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from subspace_bench.common.errors import UnfitMachine, UserError
from subspace_bench.common.files import write_atomically
from subspace_bench.common.interruption import raise_if_interrupted, uninterrupted
from subspace_bench.common.locks import Locked
from subspace_bench.records.config import RunConfig
from subspace_bench.records.mirror import Mirror
from subspace_bench.records.store import Record, Store
from subspace_bench.training.executor import Event, WorkerPool, emit, run_all, should_stop

if TYPE_CHECKING:
    from subspace_bench.datasets.dataset import Dataset

CLAIM_SECONDS = 1.0  # between two looks at the runs of other processes


def train_all(
    runs: Sequence[RunConfig],
    store: Store,
    data_root: Path | None,
    jobs: int,
    on_event: Callable[[Event[RunConfig]], None],
    executor: Executor | None = None,
    mirror: Mirror | None = None,
) -> list[Event[RunConfig]]:
    """Trains the runs in order, stores their records in `store`, and returns the failures.

    Several processes may train into one store: each run is trained once. Runs that another process
    trains are left until the end, and taken over if it ends without a record.

    Arguments:
        runs: the runs to train; one that has a record is done at once.
        jobs: how many to train at a time.
        on_event: called with every event; the value of "progress" is a `loop.Progress`, and of
            "done" the record. One more kind of event is "claimed": another process trains the run.
        executor: carries the runs out, and is shut down; None for `jobs` processes here. Its
            machines must see the store's folder, unless there is a mirror.
        mirror: where records and checkpoints are kept as well.

    Raises:
        KeyboardInterrupt: after all workers have written their checkpoints.
        UnfitMachine: likewise, if a machine cannot train, or cannot store a record, as on a full
            disk.
    """
    task: Callable[[RunConfig], Record]
    data_root = data_root and data_root.absolute()  # other machines have other working folders
    if mirror is None:
        folder = store.folder.absolute()
        task = functools.partial(train_and_store, folder=folder, data_root=data_root)
    else:
        task = functools.partial(train_and_mirror, mirror=mirror, data_root=data_root)
    failures: list[Event[RunConfig]] = []
    waiting, claimed = list(runs), set[RunConfig]()

    def listen(event: Event[RunConfig]) -> None:
        if mirror is not None and event.kind == "done":
            store.put(event.value)
        if event.kind != "failed" or not isinstance(event.value, Locked):
            on_event(event)
        elif event.case not in claimed:
            claimed.add(event.case)
            on_event(Event("claimed", event.case))

    with uninterrupted(), contextlib.ExitStack() as after:
        after.callback(store.sweep)
        pool = after.enter_context(executor or WorkerPool(jobs))
        if executor is not None and mirror is None:
            task = functools.partial(require_shared, task, after.enter_context(mark(folder)))
        while waiting:
            ended = run_all(waiting, task, pool, listen)
            failures += [event for event in ended if not isinstance(event.value, Locked)]
            waiting = [event.case for event in ended if isinstance(event.value, Locked)]
            while waiting and all(map(store.is_claimed, waiting)):
                time.sleep(CLAIM_SECONDS)
                raise_if_interrupted()
    return failures


@contextlib.contextmanager
def mark(folder: Path) -> Iterator[Path]:
    """A file that exists in a folder for the time being."""
    path = folder / f".{secrets.token_hex(8)}.shared"
    write_atomically(path, "")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def require_shared(task: Callable[[RunConfig], Record], marked: Path, run: RunConfig) -> Record:
    """Carries out a run on a machine that sees a `mark`.

    Raises:
        UnfitMachine: if this one does not.
    """
    if not marked.exists():
        raise UnfitMachine(
            f"{socket.gethostname()} does not see {marked.parent}: choose a folder with --out that "
            "all machines share, or add --mirror URL"
        )
    return task(run)


def train_and_mirror(run: RunConfig, mirror: Mirror, data_root: Path | None) -> Record:
    """As `train_and_store`, in a temporary folder; record and checkpoint are kept in the mirror."""
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(Path(scratch))
        record, checkpoint = store.path(run), store.checkpoint(run)
        mirror.fetch(record)
        mirror.fetch(checkpoint)

        def on_progress(progress: Any) -> None:
            mirror.send(checkpoint)
            emit(progress)

        try:
            outcome = train_and_store(run, store.folder, data_root, on_progress)
        finally:
            mirror.send(checkpoint)
        mirror.send(record)
        mirror.delete(checkpoint)
        return outcome


def train_and_store(
    run: RunConfig,
    folder: Path,
    data_root: Path | None,
    on_progress: Callable[[Any], None] = emit,
) -> Record:
    """Trains one run, from its checkpoint if any, and stores its record in `folder`.

    If the record is there already, another process has stored it meanwhile: returns that.

    Raises:
        Locked: if another process trains the run.
        Interrupted: if the pool stopped; the checkpoint is written.
        UnfitMachine: if the dataset is not here, or the record cannot be stored.
        UserError: see `loop.train`.
    """
    from subspace_bench.common.hardware import reset_peak_memory
    from subspace_bench.training.loop import train

    reset_peak_memory()
    if run.device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
    store = Store(folder)
    checkpoint = store.checkpoint(run)
    with store.claim(run):
        record = store.get(run)
        if record is None:
            dataset = load_here(run.dataset, data_root)
            record = train(run, dataset, checkpoint, on_progress, should_stop)
            store.put(record)
        checkpoint.unlink(missing_ok=True)
    return record


def load_here(name: str, root: Path | None) -> Dataset:
    """The dataset on this machine.

    Raises:
        UnfitMachine: if it is not there, or damaged.
    """
    try:
        return load_dataset(name, root)
    except UserError as failure:
        raise UnfitMachine(f"{socket.gethostname()}: {failure}") from failure


@functools.cache
def load_dataset(name: str, root: Path | None) -> Dataset:
    """The dataset, read once per worker."""
    from subspace_bench.datasets import loading

    return loading.load(name, root)
