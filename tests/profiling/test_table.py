"""The csv of timings: rows of one machine, resumed."""

from __future__ import annotations

import pandas as pd
import pytest

from subspace_bench.common.errors import UserError
from subspace_bench.profiling import table as table_module
from subspace_bench.profiling.cases import TimingCase, grid
from subspace_bench.profiling.table import TimingTable, read_frame

OK = {"status": "ok", "forward_ms": 1.234567, "forward_n": 7}
CASES = grid(["gaussian", "hashed"], [900, 700], [5, 40], "cpu", "float32")


@pytest.fixture(autouse=True)
def fixed_bandwidth(monkeypatch) -> None:
    monkeypatch.setattr(table_module, "read_bandwidth", lambda *_: 1.23e10)


def test_rows_are_kept_in_order_and_read_again(tmp_path) -> None:
    table = TimingTable(tmp_path, "cpu", 2)
    for case in reversed(CASES):
        table.put(case, OK)
    again = TimingTable(tmp_path, "cpu", 2)
    assert again.path == tmp_path / "projectors-cpu.csv"
    assert again.foreign is None
    row = again.get(CASES[0])
    assert row is not None
    assert (row["forward_ms"], row["forward_n"], row["read_gbs"]) == (1.2346, 7, 12.3)
    frame = read_frame(table.path)
    assert [*zip(frame.projector, frame.native, frame.dim, strict=True)] == [
        (c.projector, c.native, c.dim) for c in CASES
    ]
    assert again.get(TimingCase("gaussian", 700, 5, dtype="float64")) is None


@pytest.mark.parametrize("column, value", [("cpu", "Another CPU"), ("threads", 9)])
def test_rows_of_another_machine_stay_in_their_file(column, value, tmp_path) -> None:
    TimingTable(tmp_path, "cpu", 2).put(CASES[0], OK)
    path = tmp_path / "projectors-cpu.csv"
    frame = pd.read_csv(path)
    frame[column] = value
    frame.to_csv(path, index=False)
    before = path.read_bytes()
    table = TimingTable(tmp_path, "cpu", 2)
    assert table.foreign == path
    assert table.get(CASES[0]) is None
    table.put(CASES[1], OK)
    assert path.read_bytes() == before
    again = TimingTable(tmp_path, "cpu", 2)
    assert again.path == table.path != path
    assert again.get(CASES[1]) is not None


def test_failures_are_retried_and_timeouts_are_not(tmp_path) -> None:
    table = TimingTable(tmp_path, "cpu", 2)
    statuses = ("ok", "does not fit: needs 90.0 GB", "failed: RuntimeError: no",
                "not measured: longer than 120 s")  # fmt: skip
    for case, status in zip(CASES, statuses, strict=False):
        table.put(case, {"status": status})
    assert table.pending(CASES) == [*CASES[1:3], *CASES[4:]]


def test_another_csv_is_refused(tmp_path) -> None:
    (tmp_path / "projectors-cpu.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"projectors-cpu\.csv"):
        TimingTable(tmp_path, "cpu", 1)
