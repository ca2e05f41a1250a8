"""Ctrl-C, `kill` and a closed terminal: each interrupts a command, which then keeps what it has.

A signal raises KeyboardInterrupt in the main thread, except where Python or an extension module may
lose it (see `_is_fragile`); there, and where Python reports that it was lost, the signal is sent
again. It is also remembered: long loops ask with `raise_if_interrupted`.
"""

from __future__ import annotations

import _thread
import contextlib
import functools
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

# SIGHUP does not exist on Windows.
SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
OWN = "subspace_bench"  # modules whose frames handle exceptions rightly
AGAIN_SECONDS = 0.05  # until a signal is sent again
PATIENCE_SECONDS = 5.0  # after which it interrupts any code: an import may take for ever

_handling = False
_received: signal.Signals | None = None
_deferred = False
_since: float | None = None  # when the first signal came that has not interrupted yet


def raise_if_interrupted() -> None:
    """Raises KeyboardInterrupt if a signal arrived since the outermost `handled_signals` began."""
    if _received is not None:
        raise KeyboardInterrupt


@contextlib.contextmanager
def handled_signals() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt, except those that `nohup` and the like
    have set to be ignored. Does nothing outside the main thread.
    """
    global _handling, _received, _since
    if not _in_main_thread():
        yield
        return
    nested, hook = _handling, sys.unraisablehook
    before = {number: signal.getsignal(number) for number in SIGNALS}
    _handling, _since = True, None
    try:
        sys.unraisablehook = functools.partial(_raise_again, hook)
        for number, handler in before.items():
            if handler not in (signal.SIG_IGN, None):
                signal.signal(number, _interrupt)
        yield
    finally:
        for number, handler in before.items():
            if handler not in (signal.SIG_IGN, None):
                signal.signal(number, handler)
        sys.unraisablehook, _handling = hook, nested
        if not nested:  # what runs later in this process was not interrupted
            _received = None


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Remembers signals instead of raising KeyboardInterrupt, for what must complete.

    What takes long in it asks with `raise_if_interrupted`. Does nothing outside the main thread.
    """
    global _deferred
    if not _in_main_thread():
        yield
        return
    before, _deferred = _deferred, True
    try:
        with contextlib.nullcontext() if _handling else handled_signals():
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
    global _received, _since
    _received, now = signal.Signals(number), time.monotonic()
    if _deferred:
        return
    _since = _since or now
    if _is_fragile(frame) and now < _since + PATIENCE_SECONDS:
        _send_again(_received)
    else:
        _since = None
        raise KeyboardInterrupt


def _raise_again(hook: Callable[[Any], Any], lost: Any) -> None:
    """Answers an exception that Python cannot raise: sends a signal again, else calls the hook."""
    if lost.exc_type is KeyboardInterrupt and _received is not None:
        _send_again(_received)
    else:
        hook(lost)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _is_fragile(frame: FrameType | None) -> bool:
    """Whether Python may lose an exception raised in this frame, which called no function of ours.

    True while a module is imported: what runs then may replace the exception (`__set_name__` by
    RuntimeError) or end the process (C++ without handlers). True in code executed from a string:
    CPython ends by SIGINT if KeyboardInterrupt leaves `exec`, even if it is caught. `dataclass`
    executes such code under the name of the module it is used in, which may be ours.
    """
    while frame is not None:
        code, module = frame.f_code, frame.f_globals.get("__name__", "")
        if code.co_filename.startswith(("<frozen importlib", "<string>")):
            return True
        if module.startswith(OWN) and code.co_name != "<module>":
            return False
        frame = frame.f_back
    return False


def _send_again(number: signal.Signals) -> None:
    """Makes this process handle a signal a moment later, unless `handled_signals` ended."""

    def send() -> None:
        time.sleep(AGAIN_SECONDS)
        if _received is not None:
            _thread.interrupt_main(number)  # does nothing if the signal is ignored or not handled

    # Not `threading`: its locks may be held by the code that the signal interrupted.
    _thread.start_new_thread(send, ())
