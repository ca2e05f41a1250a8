"""Locks between processes that write to one folder; the death of a holder releases them.

A lock is a file beside the one it guards, locked by the kernel (`flock` on Unix). It works between
processes, containers and, over NFS with its lock service, machines. Where a file system has no
locks, as NFS mounted with `nolock`, nothing is locked: work may be done twice, but every file is
still written whole.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


class Locked(Exception):
    """Another process holds the lock."""


@contextlib.contextmanager
def exclusive(path: Path, timeout: float = -1) -> Iterator[None]:
    """Holds the lock of a file, which need not exist; its folder must.

    Arguments:
        timeout: seconds to wait; negative means for ever.

    Raises:
        Locked: if another process still holds it.
    """
    name = path.with_name(f".{path.name}.lock")
    lock = FileLock(name, timeout=timeout, fallback_to_soft=False)
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
        with name.open("rb") as file:
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
        guarded = name.with_name(name.name.removeprefix(".").removesuffix(".lock"))
        with contextlib.suppress(Locked), exclusive(guarded, timeout=0):
            pass  # which deletes it at the end
