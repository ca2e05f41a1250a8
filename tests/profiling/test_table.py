"""The csv of timings: rows of one machine, resumed."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import pytest

from subspace_bench.common.errors import UserError
from subspace_bench.profiling import table as table_module
from subspace_bench.profiling.cases import TimingCase, grid
from subspace_bench.profiling.table import TimingTable, read_frame, sources_digest
from subspace_bench.records.row_digest import COLUMN

OK = {
    "status": "ok", "setup_s": 0.1, "resident_bytes": 100, "peak_bytes": 200,
    "forward_ms": 1.234567, "forward_q25": 1.0, "forward_q75": 2.0, "forward_n": 7,
    "transpose_ms": 2.0, "transpose_q25": 1.5, "transpose_q75": 2.5, "transpose_n": 7,
}  # fmt: skip
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
    frame = pd.read_csv(path).drop(columns=COLUMN)
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
        table.put(case, OK if status == "ok" else {"status": status})
    assert table.pending(CASES) == [*CASES[1:3], *CASES[4:]]


def test_a_case_is_measured_again_when_its_projector_has_changed(tmp_path, monkeypatch) -> None:
    table = TimingTable(tmp_path, "cpu", 2)
    for case in CASES:
        table.put(case, OK)
    assert table.pending(CASES) == []

    def other_hashed(projector: str, device: str) -> str:
        return "0" * 8 if projector == "hashed" else sources_digest(projector, device)

    monkeypatch.setattr(table_module, "sources_digest", other_hashed)
    again = TimingTable(tmp_path, "cpu", 2)
    assert again.pending(CASES) == [case for case in CASES if case.projector == "hashed"]


def test_rows_older_than_the_digest_of_sources_are_measured_again(tmp_path) -> None:
    TimingTable(tmp_path, "cpu", 2).put(CASES[0], OK)
    path = tmp_path / "projectors-cpu.csv"
    frame = pd.read_csv(path, keep_default_na=False).drop(columns=["sources", COLUMN])
    frame.to_csv(path, index=False)
    table = TimingTable(tmp_path, "cpu", 2)
    assert table.pending(CASES) == CASES
    table.put(CASES[1], OK)
    assert TimingTable(tmp_path, "cpu", 2).pending(CASES) == [CASES[0], *CASES[2:]]


def test_digests_of_sources_follow_the_projector_and_the_device() -> None:
    digests = {name: sources_digest(name, "cpu") for name in ("gaussian", "hashed", "kronecker")}
    assert len(set(digests.values())) == 3
    assert sources_digest("hashed", "cuda") != digests["hashed"]
    assert sources_digest("unknown", "cpu") == ""


def damaged_cells() -> Iterator[tuple[str, str]]:
    """(column, cell) that no timing has."""
    numbers = ("nan", "inf", "-1", "1e999", "1e308", "text", "0x10", "9" * 400, "150%")
    for column in ("native", "dim", "threads", "read_gbs", "cache_bytes", "setup_s",
                   "forward_ms", "transpose_q75", "resident_bytes", "peak_bytes"):  # fmt: skip
        yield from ((column, cell) for cell in (*numbers, ""))
    yield from (("native", "0"), ("dim", "0"), ("dim", "99999999"), ("forward_ms", "99"))
    yield from (("projector", cell) for cell in ("", "<script>alert(1)</script>", "a|b", "$x$"))
    yield from (("device", cell) for cell in ("", "tpu"))
    yield from (("dtype", cell) for cell in ("", "int8", "float31"))
    yield from (("status", cell) for cell in ("", "fine", "ok?"))
    yield from ((column, "0") for column in ("forward_ms", "transpose_ms", "read_gbs"))
    yield from (("norm_n", ""), ("pairs", ""), ("coherence", ""), ("sources", "xyz"))


@pytest.mark.parametrize("column, cell", [*damaged_cells()])
def test_every_damaged_cell_of_a_measured_case_is_found(column, cell, tmp_path) -> None:
    table = TimingTable(tmp_path, "cpu", 2)
    distortion = {"norm_mean": 1.0, "norm_sd": 0.1, "norm_n": 24, "coherence": 0.1, "pairs": 10}
    table.put(CASES[0], OK | distortion)
    frame = pd.read_csv(table.path, dtype=str, keep_default_na=False)
    frame[column] = cell
    frame.drop(columns=COLUMN).to_csv(table.path, index=False)
    with pytest.raises(UserError, match=r"projectors-cpu\.csv"):
        read_frame(table.path)


@pytest.mark.parametrize("damage", ["no rows", "two machines"])
def test_a_page_has_rows_of_one_machine(damage, tmp_path) -> None:
    table = TimingTable(tmp_path, "cpu", 2)
    table.put(CASES[0], OK)
    table.put(CASES[1], OK)
    frame = pd.read_csv(table.path, dtype=str, keep_default_na=False)
    frame.loc[0, "cpu"] = "another"
    (frame[:0] if damage == "no rows" else frame).to_csv(table.path, index=False)
    with pytest.raises(UserError, match=r"projectors-cpu\.csv"):
        read_frame(table.path)


def test_another_csv_is_refused(tmp_path) -> None:
    (tmp_path / "projectors-cpu.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"projectors-cpu\.csv"):
        TimingTable(tmp_path, "cpu", 1)
