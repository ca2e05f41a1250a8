"""Measures timing cases one at a time in a worker process, which may fail or be killed."""

from __future__ import annotations

import functools
import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from subspace_bench.common.errors import UserError
from subspace_bench.common.formatting import format_bytes
from subspace_bench.common.hardware import available_memory
from subspace_bench.common.interruption import raise_if_interrupted
from subspace_bench.common.locks import Locked
from subspace_bench.profiling.cases import TimingCase
from subspace_bench.profiling.table import TimingTable
from subspace_bench.profiling.timing import measure, release_memory
from subspace_bench.training.executor import describe_failure
from subspace_bench.training.worker_main import emit
from subspace_bench.training.worker_pool import TimeLimitExceeded, WorkerPool

MEMORY_FRACTION = 0.9  # of free memory that a case may use
BASE_SECONDS, SECONDS_PER_GB = 180.0, 60.0  # time limit of a case


def time_limit(case: TimingCase) -> float:
    """Time limit of a case in seconds; longer for a large P."""
    return BASE_SECONDS + SECONDS_PER_GB * case.footprint.resident_bytes / 1e9


def free_memory(device: str) -> float:
    """Bytes that the device can still allocate."""
    return available_memory() if device == "cpu" else float(torch.cuda.mem_get_info()[0])


def fits(case: TimingCase, free: float) -> bool:
    """Whether the predicted memory fits; True if the prediction fails, so that the case runs and
    reports why.

    Arguments:
        free: bytes.
    """
    try:
        return case.needed_bytes <= MEMORY_FRACTION * free
    except UserError:
        return True


def measure_all(
    cases: Sequence[TimingCase],
    table: TimingTable,
    repeat: int,
    on_result: Callable[[TimingCase, dict[str, Any]], None],
    seconds: float = math.inf,
) -> int:
    """Measures cases in order, adds each to the table, and returns the number finished.

    One process of a machine measures at a time. A case that another one has measured meanwhile is
    not measured again.
    After a timeout, larger d of the same projector and D are skipped and recorded as too slow.

    Arguments:
        repeat: as in `measure`.
        on_result: called with each case and its result: "status" and the measurements.
        seconds: budget; a case that exceeds it is not recorded.
    """
    end = time.monotonic() + seconds
    timeouts: dict[tuple[str, int], int] = {}  # (projector, D) → the d that timed out

    def limit(case: TimingCase, *_: Any) -> float:
        return min(time_limit(case), end - time.monotonic())

    before = {case: repr(table.get(case)) for case in cases}
    announce = functools.cache(
        lambda: print("another process measures on this machine: waiting", file=sys.stderr)
    )

    def measure_new(case: TimingCase) -> dict[str, Any] | None:
        """The result of a case, or None if time is up."""
        series = case.projector, case.native
        if series in timeouts:
            status = f"not measured: takes too long already at d = {timeouts[series]:,}"
            return {"status": status}
        result = measure_in_pool(case, table.threads, repeat, pool)
        if result["status"].startswith("not measured"):
            if time.monotonic() >= end:
                return None
            timeouts[series] = case.dim
        return result

    with WorkerPool(1, time_limit=limit, stop_seconds=0) as pool:
        for done, case in enumerate(cases):
            raise_if_interrupted()
            if time.monotonic() >= end:
                return done
            try:
                with table.only_measuring(end - time.monotonic(), announce):
                    result = table.get(case)
                    is_new = repr(result) != before[case]  # NaN differs from NaN
                    if result is None or not is_new or table.pending([case]):
                        result = measure_new(case)
                        if result is None:
                            return done
                        table.put(case, result)
                    elif result["status"].startswith("not measured"):
                        timeouts.setdefault((case.projector, case.native), case.dim)
            except Locked:
                return done
            on_result(case, result)
    return len(cases)


def measure_in_pool(
    case: TimingCase, threads: int, repeat: int, pool: WorkerPool
) -> dict[str, Any]:
    """The measurements of a case and its "status": "ok", or why it failed.

    The status is "ok" once the times are known. If measuring the distortion then fails, "lost" has
    the reason; if it times out, the distortion is missing.
    """
    try:
        needed, free = case.needed_bytes, free_memory(case.device)
    except UserError as failure:
        return {"status": f"failed: {failure}"}
    prediction = {"predicted_bytes": needed}
    if needed > MEMORY_FRACTION * free:
        return {"status": f"does not fit: needs {format_bytes(needed)}", **prediction}
    measured: dict[str, Any] = {}

    def collect(kind: str, part: Any) -> None:
        if kind == "progress":
            measured.update(part)

    lost: dict[str, str] = {}
    try:
        pool.submit_with_listener(collect, emit_measurements, case, repeat, threads).result()
        status = "ok"
    except TimeLimitExceeded as failure:
        status = "ok" if measured else f"not measured: {failure}"
    except Exception as failure:
        status = "ok" if measured else f"failed: {describe_failure(failure)}"
        lost = {"lost": describe_failure(failure)} if measured else {}
    return {"status": status, **measured, **lost, **prediction}


def emit_measurements(case: TimingCase, repeat: int, threads: int) -> None:
    """In a worker: emits each part of `measure` as it becomes available."""
    for part in measure(case, repeat, threads):
        emit(part)
    release_memory(case.device)
