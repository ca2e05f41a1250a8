"""The limit on a process's address space (`ulimit -v`), below which nothing can be trained."""

from __future__ import annotations

from typing import Any

resource: Any
try:
    import resource
except ImportError:  # Windows
    resource = None

NEEDED = 4_000_000_000  # bytes: PyTorch, Numba's threads and a small training


def too_little() -> str:
    """Why the limit is too low, in one line; "" if it is not."""
    if resource is None:
        return ""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit in (resource.RLIM_INFINITY, -1) or limit >= NEEDED:
        return ""
    return (
        f"the limit on address space is {limit / 1e9:.1f} GB and training needs "
        f"{NEEDED / 1e9:.0f} GB: raise it, as with `ulimit -v unlimited`"
    )
