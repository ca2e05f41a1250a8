"""Atomic writes and content hashes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from subspace_bench.common.errors import Unwritable


def digest(content: Any) -> str:
    """SHA-256 of the canonical JSON of plain data."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file completely or not at all, even if the process dies; creates its folder.

    Raises:
        Unwritable: the folder cannot be written, or the disk is full.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as failure:
        raise Unwritable(
            f"cannot write {path}: {failure.strerror or failure}; "
            "free some space, or choose another folder with --out"
        ) from failure
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
