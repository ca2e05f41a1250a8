"""What runs in a worker process of a `WorkerPool`: the loop over tasks, and what tasks may call."""

from __future__ import annotations

import contextlib
import pickle
import traceback
from multiprocessing.connection import Connection
from typing import Any

from subspace_bench.common.interruption import ignore_signals

STOP = b""  # the message that asks a worker to end

_pipe: Connection | None = None  # in a worker: to the pool


def emit(event: Any) -> None:
    """Sends a picklable event from a task to the pool; does nothing outside a worker."""
    if _pipe is not None:
        with contextlib.suppress(OSError):  # the parent is gone, so `should_stop` returns True
            _pipe.send_bytes(pickle.dumps(("event", event)))


def should_stop() -> bool:
    """Whether the task should end: on request, or if its parent is gone. False outside a worker."""
    # While a task runs, only a request to stop or the end of the pipe can arrive.
    return _pipe is not None and _pipe.poll()


def run(pipe: Connection) -> None:
    """Runs in the worker: executes tasks and sends their results until the pipe closes."""
    global _pipe
    ignore_signals()
    _pipe = pipe
    with contextlib.suppress(EOFError, OSError):  # the parent is done or gone
        while (message := pipe.recv_bytes()) != STOP:
            try:
                fn, args, kwargs = pickle.loads(message)  # noqa: S301 (from our pool)
                answer = pickle.dumps(("result", fn(*args, **kwargs)))
            except BaseException as failure:
                answer = pickle.dumps(("exception", sendable(failure)))
            pipe.send_bytes(answer)


def sendable(failure: BaseException) -> BaseException:
    """The exception with its traceback as a note; a RuntimeError if it cannot be pickled, or if it
    would end the process that receives it, as SystemExit.
    """
    failure.add_note("".join(traceback.format_exception(failure)))
    with contextlib.suppress(Exception):
        pickle.loads(pickle.dumps(failure))  # noqa: S301
        if isinstance(failure, Exception):
            return failure
    return RuntimeError(f"{type(failure).__name__}: {failure}")
