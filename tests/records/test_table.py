"""The csv store: rows round-trip, damage is an error, and processes keep each other's rows."""

from __future__ import annotations

import math
import multiprocessing
import os
from pathlib import Path
from typing import NotRequired, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subspace_bench.common.errors import UserError
from subspace_bench.common.schema import Fraction, Natural
from subspace_bench.records.table import KeyedTable


class Cells(TypedDict):
    name: str
    seed: Natural
    value: NotRequired[float | None]
    n: NotRequired[Natural | None]
    note: NotRequired[str]


class Numbers(TypedDict):
    n: Natural
    size: NotRequired[float]
    p: NotRequired[Fraction | None]
    note: NotRequired[str]


def cells(path: Path) -> KeyedTable:
    return KeyedTable(path, Cells, ("name", "seed"))


def numbers(path: Path) -> KeyedTable:
    return KeyedTable(path, Numbers, ("n",), order=lambda row: row["n"])


def test_rows_come_back_by_key_with_their_types(tmp_path: Path) -> None:
    table = cells(tmp_path / "a.csv")
    table.put({"name": "x", "seed": 2, "value": 0.1, "note": "a, b"})
    table.put({"name": "y", "seed": 1, "value": 1e-9, "note": ""}, {"name": "x", "seed": 1, "n": 3})
    table.put({"name": "x", "seed": 2, "value": 0.5, "note": "again"})
    again = cells(table.path)
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
    table = numbers(tmp_path / "a.csv")
    for n in (3, 1, 2):
        table.put({"n": n})
    assert [line.split(",")[0] for line in table.path.read_text().splitlines()] == [*"n123"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "p\n1\n",
        "n,m\n1,2\n",
        "n,p\n1\n",
        "n,p\none,0.5\n",
        'n,p\n"1,0.5\n',
        b"n,p\n\xff,0.5\n",
        "n,n\n1,1\n",
        "n,p\n1,0.5\n1,0.6\n",
        "n,p\n,0.5\n",
        "n,p\n-1,0.5\n",
        "n,p\n1.0,0.5\n",
        "n,p\n1_0,0.5\n",
        "n,p\n 1,0.5\n",
        f"n,p\n{'9' * 5_000},0.5\n",
        "n,p\n99999999999999999999,0.5\n",
        "n,p\n1,1.5\n",
        "n,p\n1,nan\n",
        "n,p\n1,inf\n",
        "n,p\n1,1e999\n",
        "n,p\n1,0x1\n",
        "n,size\n1,\n",
        "n,p\n1,0.5\n\n",
        "\x00" * 50,
    ],
)
def test_a_damaged_file_is_an_error(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as failure:
        numbers(path)
    assert str(path) in str(failure.value)
    assert "\n" not in str(failure.value)
    assert len(str(failure.value)) < 400


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_an_error_and_does_not_hang(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.csv"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(UserError, match=r"a\.csv"):
        numbers(path)


def test_a_file_is_rewritten_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    text = 'n,size,p,note\n1,873600.0,0.9512715977480102,"D, d"\n2,1.5,1e-09,\n3,2.0,,x\n'
    path.write_text(text)
    numbers(path).put()
    written = path.read_text()
    own = [line.rpartition(",")[0] for line in written.splitlines()]
    assert own == text.splitlines()  # as before, but for the digests
    numbers(path).put()
    assert path.read_text() == written


def test_a_changed_cell_does_not_fit_the_digest_of_its_row(tmp_path: Path) -> None:
    table = numbers(tmp_path / "a.csv")
    table.put({"n": 1, "p": 0.5, "note": "x"}, {"n": 2, "p": 0.25, "note": "y"})
    good = table.path.read_text()
    for old, new in (("0.5", "0.6"), ("0.25", "0.5"), ("x", "z"), ("2,", "3,"), ("y,", ",")):
        table.path.write_text(good.replace(old, new, 1))
        with pytest.raises(UserError, match=r"row [23]"):
            numbers(table.path)


def test_a_digest_does_not_depend_on_columns_that_a_row_lacks(tmp_path: Path) -> None:
    table = numbers(tmp_path / "a.csv")
    table.put({"n": 1, "note": "x"})
    digest = table.path.read_text().splitlines()[1].rpartition(",")[2]
    table.put({"n": 2, "size": 1.0, "p": 0.5})
    assert table.path.read_text().splitlines()[1].endswith(digest)


@given(st.text(), st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 2**63 - 1))
def test_any_text_and_number_can_be_read_again(tmp_path_factory, note, value, seed) -> None:
    table = cells(tmp_path_factory.mktemp("table") / "a.csv")
    table.put({"name": "x", "seed": seed, "value": value, "note": note})
    row = cells(table.path).get(("x", seed))
    assert row is not None
    assert row["value"] == value
    assert row == table.get(("x", seed))
    before = table.path.read_bytes()
    table.put()
    assert table.path.read_bytes() == before


@pytest.mark.parametrize("row", [{"n": -1}, {"n": 1, "p": 2.0}, {"p": 0.5}, {"n": 1, "m": 2}])
def test_a_row_that_could_not_be_read_again_is_refused(tmp_path: Path, row) -> None:
    table = numbers(tmp_path / "a.csv")
    table.put({"n": 3})
    before = table.path.read_bytes()
    with pytest.raises(UserError):
        table.put(row)
    assert table.path.read_bytes() == before


def put_many(path: Path, name: str, count: int) -> None:
    table = cells(path)
    for seed in range(count):
        table.put({"name": name, "seed": seed, "value": 0.5})


def test_processes_keep_each_others_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=put_many, args=(path, name, 25)) for name in "abc"]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        cells(path)  # a reader never sees half a file
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert set(cells(path).rows) == {(name, seed) for name in "abc" for seed in range(25)}
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_deleted_meanwhile_is_written_again(tmp_path: Path) -> None:
    table = numbers(tmp_path / "a.csv")
    table.put({"n": 1})
    table.path.unlink()
    table.put({"n": 2})
    assert set(numbers(table.path).rows) == {(1,), (2,)}


def test_the_lock_of_a_killed_writer_is_deleted_with_the_next_use(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    cells(path).put({"name": "a", "seed": 0, "value": 1.0})
    (tmp_path / ".cells.csv.lock").touch()
    assert cells(path).get(("a", 0)) is not None
    assert [file.name for file in tmp_path.iterdir()] == ["cells.csv"]
