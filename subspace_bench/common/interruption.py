"""Ctrl-C, `kill` and a closed terminal: each interrupts a command, which then keeps what it has.

A signal raises KeyboardInterrupt in the main thread. Python discards an exception that is raised
inside some of its callbacks, for example of an import, so the signal is also remembered, and long
loops ask with `raise_if_interrupted`.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

# SIGHUP does not exist on Windows.
SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
_received = False
_deferred = False


def raise_if_interrupted() -> None:
    """Raises KeyboardInterrupt if a signal arrived since `handled_signals` began."""
    if _received:
        raise KeyboardInterrupt


@contextlib.contextmanager
def handled_signals() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt, except those that `nohup` and the like
    have set to be ignored.
    """
    global _received
    _received = False
    with _handlers(_interrupt):
        yield


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Remembers signals instead of raising KeyboardInterrupt, for clean-up that must complete."""
    global _deferred
    before, _deferred = _deferred, True
    try:
        with _handlers(_interrupt):
            yield
    finally:
        _deferred = before


def block_signals() -> None:
    """Blocks SIGNALS in this thread and in the processes that it starts.

    A terminal's Ctrl-C, `timeout`, Slurm and `docker stop` signal every process. The main thread
    answers and asks the workers to end: a worker killed by the signal would lose its checkpoint.
    """
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        from multiprocessing import resource_tracker  # imported here because it takes 10 ms

        resource_tracker.ensure_running()  # before, because starting it unblocks signals
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def ignore_signals() -> None:
    """Ignores SIGNALS in this process, a worker: the process that started it answers."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _received
    _received = True
    if not _deferred:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _handlers(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Installs a handler for those SIGNALS that are not ignored; only in the main thread."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
