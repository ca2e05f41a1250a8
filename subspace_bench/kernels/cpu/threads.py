"""Runs the parts of a kernel on torch's own threads.

A second thread pool would fight torch's: after each operation torch's idle threads spin for
milliseconds, on the very cores that the second pool needs.
"""

import ctypes
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

_TASK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
# Nanoseconds below which a call stays on one thread: waking another takes 25 to 75 µs, so sharing
# must save about twice that.
WAKING = 100_000


def in_threads(
    kernel: Callable[..., None],
    *args: object,
    parts: int,
    estimate: float = float("inf"),
    threads: int | None = None,
) -> None:
    """Calls kernel(*args, first, last) so that the spans [first, last) cover range(parts).

    Each thread gets one contiguous span of equal length. The kernel must release the GIL and write
    only what belongs to its parts.

    Arguments:
        parts: number of independent pieces of work.
        estimate: nanoseconds on one thread; at most WAKING keeps the call on the calling thread.
        threads: at most so many; by default `torch.get_num_threads()`.

    Raises:
        BaseException: the first that a span raised, after all spans have ended.
    """
    threads = max(1, min(threads or torch.get_num_threads(), parts)) if estimate > WAKING else 1
    if threads == 1:
        kernel(*args, 0, parts)
        return
    cuts = [t * parts // threads for t in range(threads + 1)]
    spans = iter(list(itertools.pairwise(cuts)))
    failures = []

    def task(_: object) -> None:
        # The runtime may start fewer threads than asked for, so threads draw spans until none is
        # left. next() holds the GIL, so no span is drawn twice.
        for span in spans:
            try:
                kernel(*args, *span)
            except BaseException as failure:
                failures.append(failure)

    _pool()(task, threads)
    if failures:
        raise failures[0]


@cache
def _pool() -> Callable[[Callable[[object], None], int], object]:
    """A function that calls a task on each of a number of threads, and waits.

    torch's wheels for Linux carry GNU OpenMP, whose entry point for a parallel region can be called
    directly and reuses torch's threads. Elsewhere a pool of Python threads does.
    """
    for library in sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*")):
        parallel = ctypes.CDLL(str(library)).GOMP_parallel
        parallel.argtypes = [_TASK, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        parallel.restype = None
        return lambda task, threads: parallel(_TASK(task), None, threads, 0)
    executor = ThreadPoolExecutor()
    return lambda task, threads: list(executor.map(task, range(threads)))


@contextmanager
def one_thread() -> Iterator[int]:
    """Runs torch, BLAS and LAPACK on one thread; yields the number of threads there was before.

    For results whose bits would otherwise depend on how a library splits its work.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
