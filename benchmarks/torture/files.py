"""A damaged file and its reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.torture.campaigns import Row
from subspace_bench.common.errors import UserError
from subspace_bench.training.checkpoint import DamagedCheckpoint

Read = Callable[[Path], Any]


def try_file(
    row: Row, path: Path, what: str, data: bytes, read: Read, equal: Callable[[Any], bool]
) -> bool:
    """Counts a trial: right if the reader names the file, or returns what was written.

    Returns:
        Whether the damage was found.
    """
    path.write_bytes(data)
    try:
        value = read(path)
    except (UserError, DamagedCheckpoint) as failure:
        named = path.name in str(failure) and "\n" not in str(failure)
        row.count(*([] if named else [f"{what}: the message does not name the file: {failure}"]))
        return True
    except Exception as failure:
        row.count(f"{what}: {type(failure).__name__}: {failure}")
        return True
    row.count(*([] if equal(value) else [f"{what}: passed"]))
    return False
