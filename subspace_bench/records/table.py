"""A csv file as a small store: one row per key, with readable git diffs."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from subspace_bench.common.errors import UserError
from subspace_bench.common.files import read_regular, write_atomically
from subspace_bench.common.locks import Locked, exclusive, sweep_lock
from subspace_bench.common.schema import keys, optional_keys, require
from subspace_bench.records import row_digest

Row = dict[str, Any]
Key = tuple[Any, ...]

LOCK_SECONDS = 60.0  # another process holds the lock for as long as it writes the file
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?", re.ASCII)
INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


class KeyedTable:
    """The rows of a csv file by their key; every `put` merges with the file and rewrites it.

    Several processes may write to one file: none loses the rows of another. Each row has a digest
    (`row_digest`); files without digests are read too.
    Cells of text columns are strings, others int or float, and NaN where the cell is empty.

    Arguments:
        path: the file; it need not exist.
        schema: a TypedDict, column → type and range. A `NotRequired` column may be absent; an
            `X | None` cell may be empty.
        key: columns that together identify a row.
        order: sort key of rows in the file; by default they stay in the order of their first `put`.
        check: raises ValueError if the cells of a row do not fit together.

    Raises:
        UserError: names the file and what is wrong with it.
    """

    def __init__(
        self,
        path: Path,
        schema: type,
        key: Sequence[str],
        order: Callable[[Row], Any] | None = None,
        check: Callable[[Row], None] = lambda row: None,
    ) -> None:
        self.path, self.key, self.order, self.check = path, tuple(key), order, check
        self.hints, self.optional = keys(schema), optional_keys(schema)
        self.columns: list[str] = []
        self.rows: dict[Key, Row] = {}
        sweep_lock(path)
        self._read()

    def key_of(self, row: Row) -> Key:
        """The key of a row; "" stands for a column that it lacks."""
        return tuple(row.get(name, "") for name in self.key)

    def get(self, key: Key) -> Row | None:
        """The row with this key, or None."""
        return self.rows.get(key)

    def put(self, *rows: Row) -> None:
        """Adds rows, replacing those with the same keys, and writes the file atomically.

        Rows that another process has added since are kept.

        Raises:
            UserError: if a row does not fit the schema, the file was damaged meanwhile, or it
                cannot be written.
        """
        columns = list(dict.fromkeys(name for row in rows for name in row))
        written = [{name: _cell(row.get(name)) for name in row} for row in rows]
        with contextlib.suppress(OSError):  # which the write reports
            self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with exclusive(self.path, LOCK_SECONDS):
                self._read()
                self._add(columns, written)
                write_atomically(self.path, self._text())
        except Locked as failure:
            raise UserError(f"{failure}: end that process, or choose another folder") from failure
        except ValueError as failure:
            raise UserError(f"{self.path} cannot hold this row: {failure}") from failure

    def sorted(self) -> list[Row]:
        """The rows in the order of the file."""
        rows = list(self.rows.values())
        return rows if self.order is None else sorted(rows, key=self.order)

    def _add(self, columns: Sequence[str], lines: Sequence[dict[str, str]]) -> None:
        columns = list(dict.fromkeys([*self.columns, *columns]))
        self._require_columns(columns)
        rows = [self._parse({name: cells.get(name, "") for name in columns}) for cells in lines]
        self.columns = columns
        self.rows |= {self.key_of(row): row for row in rows}

    def _text(self) -> str:
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*self.columns, row_digest.COLUMN])
        for row in self.sorted():
            cells = {name: _cell(row.get(name)) for name in self.columns}
            writer.writerow([*cells.values(), row_digest.row_digest(cells)])
        return file.getvalue()

    def _read(self) -> None:
        """Replaces the rows with those of the file; keeps them if it does not exist."""
        try:
            text = read_regular(self.path).decode("utf-8")
            columns, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
            own = [name for name in columns if name != row_digest.COLUMN]
            self._require_columns(own)
            rows: dict[Key, Row] = {}
            for number, line in enumerate(lines, 2):
                if len(line) != len(columns):
                    raise ValueError(f"row {number} has {len(line)} cells")
                cells = dict(zip(columns, line, strict=True))
                row_digest.require_digest(cells, f"row {number}: ")
                cells.pop(row_digest.COLUMN, None)
                row = self._parse(cells, f"row {number}: ")
                if rows.setdefault(self.key_of(row), row) is not row:
                    raise ValueError(f"row {number} repeats the key of another")
        except FileNotFoundError:
            return
        except (OSError, ValueError, csv.Error) as failure:
            raise UserError(
                f"{self.path} is damaged ({failure}): restore it, or move it away to start again"
            ) from failure
        self.columns, self.rows = own, rows

    def _require_columns(self, columns: Sequence[str]) -> None:
        if unknown := [name for name in columns if name not in self.hints]:
            raise ValueError(f"it has the unknown column {unknown[0][:40]!r}")
        if lacking := self.hints.keys() - self.optional - set(columns):
            raise ValueError(f"it lacks the column {min(lacking)!r}")
        if len(set(columns)) < len(columns):
            raise ValueError("a column occurs twice")

    def _parse(self, cells: dict[str, str], where: str = "") -> Row:
        """The typed and checked row of a line of the file."""
        row: Row = {}
        for name, cell in cells.items():
            if CONTROL.search(cell):
                raise ValueError(f"{where}{name} has control characters")
            value: Any = cell if _is_text(self.hints[name]) else _number(cell)
            require(None if value != value else value, self.hints[name], f"{where}{name}")
            row[name] = value
        self.check(row)
        return row


def _is_text(hint: Any) -> bool:
    origin = get_origin(hint)
    if origin is Literal:
        return isinstance(get_args(hint)[0], str)
    return hint is str or (origin is Annotated and get_args(hint)[0] is str)


def _number(cell: str) -> Any:
    """The number of a cell, NaN if it is empty, or the text if it is no number."""
    if not cell:
        return float("nan")
    if INTEGER.fullmatch(cell):
        return int(cell)
    return float(cell) if NUMBER.fullmatch(cell) else cell


def _cell(value: Any) -> str:
    """A value as text: one line, and "" for None and NaN."""
    if value is None or value != value:
        return ""
    return CONTROL.sub(" ", value) if isinstance(value, str) else str(value)
