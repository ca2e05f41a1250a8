"""Locks between processes that write to one folder; the death of a holder releases them.

A lock is a file beside the one it guards, locked by the kernel (`flock` on Unix). It works between
processes, containers and, over NFS with its lock service, machines. Where a file system has no
locks, as NFS mounted with `nolock`, nothing is locked: work may be done twice, but every file is
still written whole.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from subspace_bench.common.files import open_regular

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


class Locked(Exception):
    """Another process holds the lock."""


@contextlib.contextmanager
def exclusive(
    path: Path, timeout: float = -1, on_wait: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Holds the lock of a file, which need not exist; its folder must.

    Arguments:
        timeout: seconds to wait; negative means for ever.
        on_wait: called before it waits.

    Raises:
        Locked: if another process still holds it.
    """
    name = path.with_name(f".{path.name}.lock")
    lock = FileLock(name, timeout=timeout, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if timeout:
            on_wait()
        try:
            lock.acquire()
        except Timeout:
            raise Locked(f"another process holds {name}") from None
    except OSError:  # no locks here, or a folder that a later write reports as read-only
        yield
        return
    try:
        yield
    finally:
        # While it is locked: a process that then locks the deleted file sees that, and starts over.
        with contextlib.suppress(OSError):
            name.unlink()
        lock.release()


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock of a file; changes nothing.

    Where Python has no `flock`, on Windows, a lock file counts as held.
    """
    name = path.with_name(f".{path.name}.lock")
    try:
        with open_regular(name) as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # it is gone, or the file system has no locks
        return False
    return fcntl is None


def sweep_locks(folder: Path) -> None:
    """Deletes the lock files that processes left when they were killed."""
    for name in folder.glob(".*.lock"):
        sweep_lock(name.with_name(name.name.removeprefix(".").removesuffix(".lock")))


def sweep_lock(path: Path) -> None:
    """Deletes the lock file of a file, if a process left it when it was killed."""
    if path.with_name(f".{path.name}.lock").exists():
        with contextlib.suppress(Locked), exclusive(path, timeout=0):
            pass  # which deletes it at the end
