"""A csv file as a small store: one row per key, with readable git diffs."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from subspace_bench.common.errors import UserError
from subspace_bench.common.files import write_atomically

Row = dict[str, Any]
Key = tuple[Any, ...]


class KeyedTable:
    """The rows of a csv file by their key; the file is read once and rewritten at every `put`.

    Cells of `text` columns are strings, others int or float, and NaN where the cell is empty.

    Arguments:
        path: the file; it need not exist.
        key: columns that together identify a row. Among rows with the same key, the last counts.
        text: columns that hold strings.
        order: sort key of rows in the file; by default they stay in the order of their first `put`.

    Raises:
        UserError: names the file and what is wrong with it.
    """

    def __init__(
        self,
        path: Path,
        key: Sequence[str],
        text: Sequence[str] = (),
        order: Callable[[Row], Any] | None = None,
    ) -> None:
        self.path, self.key, self.text, self.order = path, tuple(key), frozenset(text), order
        self.columns: list[str] = []
        self.rows: dict[Key, Row] = {}
        if path.exists():
            self._read()

    def key_of(self, row: Row) -> Key:
        """The key of a row."""
        return tuple(row[name] for name in self.key)

    def get(self, key: Key) -> Row | None:
        """The row with this key, or None."""
        return self.rows.get(key)

    def put(self, *rows: Row) -> None:
        """Adds rows, replacing those with the same keys, and writes the file atomically."""
        for row in rows:
            self.columns += [name for name in row if name not in self.columns]
            self.rows[self.key_of(row)] = row
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(self.columns)
        for row in self.sorted():
            writer.writerow(_written(row.get(name)) for name in self.columns)
        write_atomically(self.path, file.getvalue())

    def sorted(self) -> list[Row]:
        """The rows in the order of the file."""
        rows = list(self.rows.values())
        return rows if self.order is None else sorted(rows, key=self.order)

    def _read(self) -> None:
        try:
            with self.path.open(newline="", encoding="utf-8") as file:
                self.columns, *lines = csv.reader(file, strict=True)
            if lacking := [name for name in (*self.key, *self.text) if name not in self.columns]:
                raise ValueError(f"it lacks the column {lacking[0]!r}")
            for number, line in enumerate(lines, 2):
                if len(line) != len(self.columns):
                    raise ValueError(f"row {number} has {len(line)} cells")
                row = {
                    name: cell if name in self.text else _number(cell)
                    for name, cell in zip(self.columns, line, strict=True)
                }
                self.rows[self.key_of(row)] = row
        except (OSError, ValueError, csv.Error) as failure:
            raise UserError(
                f"{self.path} is damaged ({failure}): restore it, or move it away to start again"
            ) from failure


def _number(cell: str) -> float:
    if not cell:
        return float("nan")
    try:
        return int(cell)
    except ValueError:
        return float(cell)


def _written(value: Any) -> Any:
    return "" if value is None or value != value else value
