"""Atomic writes and content hashes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import stat
from pathlib import Path
from typing import IO, Any

from subspace_bench.common.errors import Unwritable

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PART_NAME = re.compile(r"\.[0-9a-f]{16}\.part")
PART_ATTEMPTS = 10


def digest(content: Any) -> str:
    """SHA-256 of the canonical JSON of plain data."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_regular(path: Path) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: if it cannot be read, or is something else.
    """
    with open_regular(path) as file:
        return file.read()


def open_regular(path: Path) -> IO[bytes]:
    """Opens a regular file to read; a pipe or device would block, and a folder has no bytes.

    Raises:
        OSError: if it cannot be read, or is something else.
    """
    file = open(path, "rb", opener=_without_blocking)  # noqa: SIM115 (the caller closes it)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return file


def _without_blocking(path: str, flags: int) -> int:
    """Opens without waiting: a pipe would otherwise wait for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file completely or not at all, even if the process dies; creates its folder.

    Several processes may write the same file: one content remains, whole.

    Raises:
        Unwritable: the folder cannot be written, or the disk is full.
    """
    # Text from the system, such as file names, may have bytes that are no UTF-8.
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    try:
        for attempts_left in range(PART_ATTEMPTS - 1, -1, -1):
            try:
                _write_part(path, data)
                break
            except FileNotFoundError:  # the folder was removed, or another process swept the part
                if not attempts_left:
                    raise
        sweep_parts(path.parent)
    except OSError as failure:
        raise Unwritable(
            f"cannot write {path}: {failure.strerror or failure}; "
            "free some space, or choose another folder with --out"
        ) from failure


def _write_part(path: Path, data: bytes) -> None:
    """Writes a file of another name in the same folder, locked meanwhile, and renames it."""
    part = path.with_name(f".{secrets.token_hex(8)}.part")  # process ids repeat between containers
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("xb") as file:
            locked = _lock(file)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if locked:
                part.replace(path)
        if not locked:  # Windows renames no open file
            part.replace(path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def sweep_parts(folder: Path) -> None:
    """Deletes parts that processes left when they were killed; a living writer holds a lock."""
    for name in filter(PART_NAME.fullmatch, os.listdir(folder)):
        with contextlib.suppress(OSError), open_regular(folder / name) as file:
            if _lock(file):
                (folder / name).unlink()


def _lock(file: IO[bytes]) -> bool:
    """Locks a file until it is closed; False if another process has, or there are no locks."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
