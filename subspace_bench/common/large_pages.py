"""Memory for large vectors in 2 MB pages (Linux).

A new θ of 45 MB has 11,000 pages of 4 kB, and touching them first takes 10 ms, more than a fast
projection. In 2 MB pages there are 22. From 4 MB on, later accesses gain too, as fewer pages need
fewer look-ups of addresses. Source: madvise(2), MADV_HUGEPAGE.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
from typing import Any

from torch import Tensor

LARGE = 1 << 22  # bytes; a block as large as two pages contains one that is aligned


def empty_in_large_pages(like: Tensor, *shape: int, zero: bool = False) -> Tensor:
    """`like.new_empty(shape)` or `like.new_zeros(shape)`; on a Linux CPU in large pages.

    If the system has no large pages to give, or is not Linux, pages have their usual size.

    Raises:
        RuntimeError: torch's, if the machine lacks the memory.
    """
    tensor = like.new_empty(shape)
    if tensor.nbytes >= LARGE and tensor.device.type == "cpu" and type(tensor) is Tensor:
        _advise_large_pages(tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes)
    return tensor.zero_() if zero else tensor


def _advise_large_pages(start: int, stop: int) -> None:
    """Advises the system, for the complete small pages between two addresses."""
    advise = _madvise()
    if advise is not None:
        first, last = -(-start // mmap.PAGESIZE), stop // mmap.PAGESIZE
        size = (last - first) * mmap.PAGESIZE
        advise(first * mmap.PAGESIZE, size, mmap.MADV_HUGEPAGE)


@functools.cache
def _madvise() -> Any:
    """The C library's madvise; None on systems without large pages."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return madvise
