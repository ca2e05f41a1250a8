"""Trainings that diverge or overflow: the record says so, and pages show it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from benchmarks.torture import tiny
from benchmarks.torture.campaigns import Row, Setting
from subspace_bench.datasets.embedded import embedded_digits
from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Record, Store
from subspace_bench.training.loop import train

RATES = (1e2, 1e4, 1e6, 1e10, 1e20, 1e30, 1e38)


def rows(setting: Setting) -> Iterator[Row]:
    tiny.shrink(setting.work)
    for dtype in ("float32", "float16", "bfloat16"):
        row, diverged = Row(f"{dtype}: rates from {RATES[0]:g} to {RATES[-1]:g}"), 0
        for run in wild_runs(dtype)[:: setting.times(1, 7)]:
            record = train(run, embedded_digits())
            row.count(*judge(record, Store(setting.work / dtype)))
            diverged += "diverged" in record.result
        row.measured = f"{diverged} diverged, and their records say at which update"
        yield row


def wild_runs(dtype: str) -> list[RunConfig]:
    """Runs of every kind of optimizer and projection, at rates that are too large."""
    return [
        replace(run, dtype=dtype, protocol=replace(run.protocol, lr=rate)).with_steps(40)
        for run in tiny.runs()
        for rate in RATES
        if not (dtype != "float32" and run.projector == "orthonormal")
    ]


def judge(record: Record, store: Store) -> list[str]:
    """What is wrong with the record of a run that may have diverged."""
    result, wrong = record.result, []
    finite = all(math.isfinite(loss) for _, _, loss in result["curve"])
    if not finite:
        wrong.append(f"{record.run}: a loss in the curve is not finite")
    if "diverged" in result and result["accuracy_end"] is not None:
        wrong.append(f"{record.run}: it diverged, but has a last accuracy")
    if "diverged" not in result and result["accuracy_end"] is None:
        wrong.append(f"{record.run}: no last accuracy, and nothing says why")
    store.put(record)
    if store.get(record.run) != record:
        wrong.append(f"{record.run}: its record is read back otherwise")
    return wrong
