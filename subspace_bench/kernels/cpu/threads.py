"""Run a kernel's parts on torch's own threads.

A second pool would fight torch's, whose idle threads spin for milliseconds on the cores that the
second would need.
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
WAKING = 100_000  # ns: what sharing must save twice over, as waking a thread takes 25 to 75 µs


def in_threads(
    kernel: Callable[..., None],
    *args: object,
    parts: int,
    estimate: float = float("inf"),
    threads: int | None = None,
) -> None:
    """kernel(*args, first, last) over `parts` parts, in `threads` equal shares.

    `threads` is torch.get_num_threads() where it is not given.

    The split is fixed; kernels must release the GIL, and write only what belongs to their parts.
    What takes one thread about `estimate` nanoseconds stays on one where others would come late.
    """
    threads = max(1, min(threads or torch.get_num_threads(), parts)) if estimate > WAKING else 1
    cuts = [t * parts // threads for t in range(threads + 1)]
    if threads == 1:
        kernel(*args, 0, parts)
        return
    spans = iter(list(itertools.pairwise(cuts)))
    failures = []

    def task(_: object) -> None:
        # next() holds the GIL: each span is taken once, by however many threads come.
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
    """A function that calls a task on each of a number of threads, and waits."""
    for library in sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*")):
        parallel = ctypes.CDLL(str(library)).GOMP_parallel
        parallel.argtypes = [_TASK, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        parallel.restype = None
        return lambda task, threads: parallel(_TASK(task), None, threads, 0)
    executor = ThreadPoolExecutor()
    return lambda task, threads: list(executor.map(task, range(threads)))


@contextmanager
def one_thread() -> Iterator[int]:
    """torch, BLAS and LAPACK on one thread, as bits depend on it; gives the threads there were."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
