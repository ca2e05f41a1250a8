"""The csv store: rows round-trip, and damage is an error."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from subspace_bench.common.errors import UserError
from subspace_bench.records.table import KeyedTable


def test_rows_come_back_by_key_with_their_types(tmp_path: Path) -> None:
    table = KeyedTable(tmp_path / "a.csv", key=("name", "seed"), text=("name", "note"))
    table.put({"name": "x", "seed": 2, "value": 0.1, "note": "a, b"})
    table.put({"name": "y", "seed": 1, "value": 1e-9, "note": ""}, {"name": "x", "seed": 1, "n": 3})
    table.put({"name": "x", "seed": 2, "value": 0.5, "note": "again"})
    again = KeyedTable(table.path, key=table.key, text=("name", "note"))
    assert list(again.rows) == [("x", 2), ("y", 1), ("x", 1)]
    row = again.get(("x", 2))
    assert row is not None
    assert (row["value"], row["note"]) == (0.5, "again")
    assert math.isnan(row["n"])
    last = again.get(("x", 1))
    assert last is not None
    assert type(last["n"]) is int
    assert again.get(("z", 1)) is None
    before = table.path.read_bytes()
    again.put()
    assert table.path.read_bytes() == before


def test_rows_are_written_in_the_order_asked_for(tmp_path: Path) -> None:
    table = KeyedTable(tmp_path / "a.csv", key=("n",), order=lambda row: row["n"])
    for n in (3, 1, 2):
        table.put({"n": n})
    assert table.path.read_text() == "n\n1\n2\n3\n"


@pytest.mark.parametrize(
    "content",
    ["", "other\n1\n", "n,m\n1\n", "n,m\none,2\n", 'n,m\n"1,2\n', b"n,m\n\xff,2\n"],
    ids=["empty", "columns", "cells", "number", "quote", "encoding"],
)
def test_a_damaged_file_is_an_error(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as failure:
        KeyedTable(path, key=("n",), text=())
    assert str(path) in str(failure.value)
    assert "\n" not in str(failure.value)


def test_a_file_is_rewritten_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    text = 'n,size,p,note\n1,873600.0,0.9512715977480102,"D, d"\n2,,1e-09,\n'
    path.write_text(text)
    KeyedTable(path, key=("n",), text=("note",)).put()
    assert path.read_text() == text
