"""A digest in each row of a csv file, so that damage and changes by hand are found.

A row that was removed as a whole cannot be seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

COLUMN = "row_sha256"
DIGITS = 8


def row_digest(cells: Mapping[str, str]) -> str:
    """The first digits of the SHA-256 of a row's cells that are not empty, as text.

    Neither the order of columns nor one that is empty in this row counts, so columns may be added.
    """
    filled = sorted((name, cell) for name, cell in cells.items() if cell and name != COLUMN)
    text = "\n".join(f"{name}={cell}" for name, cell in filled)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def require_digest(cells: Mapping[str, str], where: str = "") -> None:
    """Checks a row whose file has digests.

    Raises:
        ValueError: if a cell was changed.
    """
    if COLUMN in cells and cells[COLUMN] != row_digest(cells):
        raise ValueError(f"{where}a cell was changed: {COLUMN} does not fit")
