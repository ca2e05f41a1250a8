"""Measuring cases: what each failure leaves in the table. The pool has separate tests."""

from __future__ import annotations

import math
import time
from concurrent.futures import Future
from typing import Any

import pytest

from subspace_bench.profiling import table as table_module
from subspace_bench.profiling import worker
from subspace_bench.profiling.cases import TimingCase, grid
from subspace_bench.profiling.table import TimingTable
from subspace_bench.training.worker_pool import TimeLimitExceeded, WorkerDied

CASE = TimingCase("gaussian", 700, 5)
TIMES = {"forward_ms": 1.0}


class ScriptedPool:
    """Emits parts and then ends with an exception, if there is one."""

    def __init__(self, parts: list[dict[str, Any]], failure: Exception | None = None) -> None:
        self.parts, self.failure = parts, failure

    def submit_with_listener(self, listen, function, *arguments) -> Future[None]:
        listen("started", None)
        for part in self.parts:
            listen("progress", part)
        future: Future[None] = Future()
        if self.failure:
            future.set_exception(self.failure)
        else:
            future.set_result(None)
        return future


def result_of(parts: list[dict[str, Any]], failure: Exception | None = None) -> dict[str, Any]:
    result = worker.measure_in_pool(CASE, 1, 3, ScriptedPool(parts, failure))  # type: ignore[arg-type]
    assert result.pop("predicted_bytes") == CASE.needed_bytes
    return result


def test_parts_are_joined() -> None:
    expected = {"status": "ok", **TIMES, "norm_mean": 1.0}
    assert result_of([TIMES, {"norm_mean": 1.0}]) == expected


def test_times_survive_a_timeout_of_the_distortion() -> None:
    assert result_of([TIMES], TimeLimitExceeded("longer than 1 s")) == {"status": "ok", **TIMES}


@pytest.mark.parametrize("failure", [MemoryError(), WorkerDied("code -9")])
def test_times_survive_a_failure_of_the_distortion(failure) -> None:
    result = result_of([TIMES], failure)
    assert result["status"] == "ok"
    assert result["lost"]


@pytest.mark.parametrize(
    "failure, status",
    [
        (RuntimeError("no\nluck"), "failed: RuntimeError: no"),
        (WorkerDied("its process ended with code -9"), "failed: its process ended with code -9"),
        (TimeLimitExceeded("longer than 180 s"), "not measured: longer than 180 s"),
    ],
)
def test_a_case_without_times_has_a_reason(failure, status) -> None:
    assert result_of([], failure) == {"status": status}


def test_a_case_that_does_not_fit_is_not_tried(monkeypatch) -> None:
    monkeypatch.setattr(worker, "free_memory", lambda device: CASE.needed_bytes)
    result = worker.measure_in_pool(CASE, 1, 3, None)  # type: ignore[arg-type]
    assert result["status"].startswith("does not fit")
    assert not worker.fits(CASE, CASE.needed_bytes)
    assert worker.fits(CASE, 2 * CASE.needed_bytes)


def test_a_broken_projector_fails_by_itself() -> None:
    broken = TimingCase("gausian", 10, 2)
    assert worker.fits(broken, 0)
    status = worker.measure_in_pool(broken, 1, 3, None)["status"]  # type: ignore[arg-type]
    assert status.startswith("failed")


def test_larger_d_is_skipped_after_a_timeout(tmp_path, monkeypatch) -> None:
    tried = []

    def time_out(case, *_: Any) -> dict[str, Any]:
        tried.append(case)
        return {"status": "not measured: longer than 180 s"}

    monkeypatch.setattr(worker, "measure_in_pool", time_out)
    monkeypatch.setattr(table_module, "read_bandwidth", lambda *_: 1e10)
    cases = grid(["gaussian", "hashed"], [700], [5, 40, 300], "cpu", "float32")
    table = TimingTable(tmp_path, "cpu", 1)
    assert worker.measure_all(cases, table, 3, lambda *_: None) == 6
    assert tried == cases[:2]
    assert all(row and "d = 5" in row["status"] for row in map(table.get, cases[2:]))


def test_a_case_that_the_budget_cuts_short_is_dropped(tmp_path, monkeypatch) -> None:
    def time_out(*_: Any) -> dict[str, Any]:
        time.sleep(0.02)
        return {"status": "not measured: longer than 0 s"}

    monkeypatch.setattr(worker, "measure_in_pool", time_out)
    table = TimingTable(tmp_path, "cpu", 1)
    assert worker.measure_all([CASE], table, 3, lambda *_: None, seconds=0.01) == 0
    assert table.get(CASE) is None


def test_large_projectors_have_more_time() -> None:
    assert worker.time_limit(TimingCase("hashed", 21_840, 10)) == pytest.approx(180, abs=1)
    assert worker.time_limit(TimingCase("gaussian", 200_000, 10_000)) == 660


def test_what_another_process_has_measured_meanwhile_is_not_measured_again(
    tmp_path, monkeypatch
) -> None:
    cases = grid(["hashed"], [900], [5, 6], "cpu", "float32")
    table, other = (TimingTable(tmp_path, "cpu", 1) for _ in range(2))
    measured = []

    def measure(case, *_):
        measured.append(case)
        other.put(cases[1], {"status": "not measured: by another process"})
        return {"status": "failed: here"}

    monkeypatch.setattr(worker, "measure_in_pool", measure)
    statuses: list[str] = []
    assert worker.measure_all(cases, table, 3, lambda _, r: statuses.append(r["status"])) == 2
    assert measured == cases[:1]
    assert statuses == ["failed: here", "not measured: by another process"]
    assert [path.name for path in tmp_path.iterdir()] == ["projectors-cpu.csv"]


def test_two_processes_do_not_measure_at_once(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(worker, "measure_in_pool", lambda *_: {"status": "failed: here"})
    table = TimingTable(tmp_path, "cpu", 1)
    with TimingTable(tmp_path, "cpu", 1).only_measuring(math.inf, lambda: None):
        assert worker.measure_all([CASE], table, 3, lambda *_: None, seconds=0.2) == 0
    assert "waiting" in capsys.readouterr().err
    assert worker.measure_all([CASE], table, 3, lambda *_: None, seconds=60) == 1
