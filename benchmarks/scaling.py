"""What does a cluster cost, and what would 1,000 workers do? Writes results/scaling.md.

    python -m benchmarks.scaling [--tasks 160] [--repeats 8] [--rebuild]

Measured: tasks that sleep, at 8 workers on this machine, by the local executor and by Ray; so it is
the engine's overhead, not that of training. Simulated: 10,000 runs whose times are drawn from the
committed records, on 100 and 1,000 workers that fail. Five minutes; needs the extra `ray`.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import measurements
from benchmarks.measurements import Measurements
from benchmarks.simulated_cluster import (
    HOUR,
    MISPREDICTION,
    NEVER,
    ORDERS,
    REPAIR_SECONDS,
    RESTART_SECONDS,
    Cluster,
    ideal,
)
from subspace_bench.common import rng
from subspace_bench.common.files import write_atomically
from subspace_bench.records.committed import committed_store
from subspace_bench.records.provenance import machine
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.render import write_page
from subspace_bench.training.cluster import Needs
from subspace_bench.training.executor import WorkerPool, run_all

WORKERS = 8  # of the measurement
SLEEP_SECONDS = 1.0  # mean of a task of the measurement
LONGEST = 4.0  # medians: longer tasks are cut, because one of them would decide the makespan
RUNS = 10_000
CHECKPOINT_BYTES = 10 * 2**20  # 5 times that of the post's largest net
SAME = 0.01  # of the bound: intervals that differ by less are equally good


def clusters(write: float, dispatch: float) -> Iterator[Cluster]:
    """What is simulated."""
    for workers in (100, 1_000):
        base = Cluster(workers, write=write, dispatch=dispatch)
        for failures, order in itertools.product((NEVER, 24 * HOUR, 4 * HOUR), ORDERS):
            yield replace(base, failures=failures, order=order)
        for interval in (1.0, 10.0, 300.0, 1_800.0, NEVER):
            yield replace(base, failures=4 * HOUR, checkpoint=interval)


def recorded_seconds() -> np.ndarray[Any, Any]:
    """Set-up and training of every committed record."""
    facts = [record.provenance for record in committed_store().records()]
    return np.array([f["seconds_set_up"] + f["seconds_training"] for f in facts])


def simulate(cluster: Cluster, recorded: np.ndarray[Any, Any], repeats: int) -> dict[str, Any]:
    """A row of the csv: the makespan over its bound."""
    ratios, hours = [], []
    for index in range(repeats):
        random = rng.generator(index, "scaling")
        seconds = random.choice(recorded, RUNS)
        makespan = cluster.makespan(seconds, random)
        ratios.append(makespan / max(seconds.sum() / cluster.workers, seconds.max()))
        hours.append(makespan / HOUR)
    return {
        "kind": "simulated",
        "workers": cluster.workers,
        "hours between failures": cluster.failures / HOUR,
        "order": cluster.order,
        "checkpoint": cluster.checkpoint,
        "hours": float(np.mean(hours)),
        "ratio": float(np.mean(ratios)),
        "sd": float(np.std(ratios, ddof=1)),
    }


def measure(name: str, start: Callable[[], Executor], tasks: int, empty: int) -> dict[str, Any]:
    """The engine's overhead at WORKERS workers, and the tasks a second that it starts."""
    recorded = np.sort(recorded_seconds())
    times = recorded[np.linspace(0, len(recorded) - 1, tasks).astype(int)]
    times = np.minimum(times, LONGEST * np.median(times))
    times = np.sort(times * SLEEP_SECONDS / times.mean())[::-1].tolist()
    with start() as executor:
        if run_all([5.0] * (2 * WORKERS), time.sleep, executor):  # starts workers
            raise RuntimeError("the warm-up failed")
        began = time.perf_counter()
        failed = run_all(times, time.sleep, executor)
        makespan = time.perf_counter() - began
        began = time.perf_counter()
        failed += run_all([0.0] * empty, time.sleep, executor)
        rate = empty / (time.perf_counter() - began)
    if failed:
        raise RuntimeError(f"{name}: {failed[0].reason}")
    perfect = ideal(times, WORKERS)
    return {
        "kind": "measured",
        "engine": name,
        "workers": WORKERS,
        "tasks": tasks,
        "sum": sum(times),
        "makespan": makespan,
        "ideal": perfect,
        "overhead": makespan / perfect - 1,
        "rate": rate,
    }


def on_ray() -> Executor:
    """A Ray on this machine that takes WORKERS tasks at a time, whatever its cores."""
    from subspace_bench.training.ray_executor import RayExecutor

    return RayExecutor(lambda case: Needs(1, 1e6, 1.0), jobs=WORKERS)


def checkpoint_seconds() -> float:
    """Median time to write a checkpoint of CHECKPOINT_BYTES."""
    content, times = bytes(CHECKPOINT_BYTES), []
    with TemporaryDirectory() as folder:
        for _ in range(15):
            began = time.perf_counter()
            write_atomically(Path(folder) / "checkpoint", content)
            times.append(time.perf_counter() - began)
    return float(np.median(times))


def page(stored: Measurements) -> Page:
    """The page results/scaling.md."""
    numbers, facts = stored.numbers, stored.facts
    measured = numbers[numbers["kind"] == "measured"]
    simulated = numbers[numbers["kind"] == "simulated"].copy()
    mean = facts["mean seconds"]
    lost = (WORKERS * measured["makespan"] - measured["sum"]) / measured["tasks"]
    engines = pd.DataFrame(
        {
            "executor": measured["engine"],
            "tasks": [f"{n:.0f}" for n in measured["tasks"]],
            "sum / 8, s": [f"{s / WORKERS:.2f}" for s in measured["sum"]],
            "perfect engine, s": [f"{s:.2f}" for s in measured["ideal"]],
            "makespan, s": [f"{s:.2f}" for s in measured["makespan"]],
            "overhead": [f"{x:.1%}" for x in measured["overhead"]],
            "idle a task, s": [f"{x:.3f}" for x in lost],
            "of a mean run": [f"{x / mean:.2%}" for x in lost],
            "empty tasks a second": [f"{x:,.0f}" for x in measured["rate"]],
        }
    )
    usual = simulated[simulated["checkpoint"] == 60]
    rows = usual.groupby(["workers", "hours between failures"], sort=False)
    orders = pd.DataFrame(
        [
            {
                "workers": f"{workers:,.0f}",
                "failures of a worker": describe_failures(group["hours between failures"].iloc[0]),
                **{row["order"]: f"{row['ratio']:.2f}" for _, row in group.iterrows()},
                "hours, longest first": f"{group['hours'].iloc[0]:.2f}",
            }
            for (workers, _), group in rows
        ]
    )
    same = simulated[(simulated["hours between failures"] == 4) & (simulated["order"] == ORDERS[0])]
    intervals = same.sort_values("checkpoint").pivot(
        index="checkpoint", columns="workers", values="ratio"
    )
    checkpoints = pd.DataFrame(
        {
            "checkpoint every": ["never" if math.isinf(i) else f"{i:g} s" for i in intervals.index],
            **{f"{w:,.0f} workers": [f"{x:.3f}" for x in intervals[w]] for w in intervals.columns},
        }
    )
    idle, median = float(lost.max()), facts["median seconds"]
    at = usual[(usual["workers"] == 1_000) & (usual["hours between failures"] == 4)]
    first, last = at["ratio"].iloc[0], at["ratio"].iloc[-1]
    means = intervals.mean(axis=1)
    best = " and ".join(f"{i:g} s" for i in means.index[means < means.min() + SAME])
    summary = (
        f"At {WORKERS} workers, an executor leaves a worker idle for at most {idle:.2f} s a run: "
        f"{idle / mean:.2%} of our mean run, {idle / median:.1%} of the median. "
        f"Simulated, 10,000 runs on 1,000 workers that each fail every 4 hours take {first:.2f} "
        f"times the bound if the longest start first, {last:.2f} if the shortest do. Checkpoints "
        f"every {best} are best."
    )
    return Page(
        "scaling",
        "What does a cluster cost?",
        summary,
        {"engines": engines, "orders": orders, "checkpoints": checkpoints},
        stored.text,
        {
            "facts": facts,
            "young": math.sqrt(2 * facts["checkpoint seconds"] * 4 * HOUR),
            "workers": WORKERS,
            "sleep": SLEEP_SECONDS,
            "longest": LONGEST,
            "repair": REPAIR_SECONDS,
            "restart": RESTART_SECONDS,
            "misprediction": MISPREDICTION,
        },
        command="python -m benchmarks.scaling --rebuild",
    )


def describe_failures(hours: float) -> str:
    return "none" if math.isinf(hours) else f"every {hours:g} h"


def main() -> None:
    parser = measurements.options(__doc__)
    parser.add_argument("--tasks", type=int, default=160, help="that sleep, for each executor")
    parser.add_argument("--repeats", type=int, default=8, help="of each simulation")
    options = parser.parse_args()
    if not options.rebuild:
        engines: dict[str, Callable[[], Executor]]
        engines = {"local": functools.partial(WorkerPool, WORKERS), "Ray": on_ray}
        rows = [measure(name, start, options.tasks, 400) for name, start in engines.items()]
        recorded, write = recorded_seconds(), checkpoint_seconds()
        for cluster in clusters(write, 1 / rows[-1]["rate"]):
            rows.append(simulate(cluster, recorded, options.repeats))
        facts = {
            "machine": {k: machine()[k] for k in ("cpu", "python", "torch")},
            "records": len(recorded),
            "mean seconds": float(recorded.mean()),
            "median seconds": float(np.median(recorded)),
            "longest seconds": float(recorded.max()),
            "checkpoint seconds": write,
            "load": os.getloadavg()[0],
            "repeats": options.repeats,
        }
        measurements.save("scaling", options.out, pd.DataFrame(rows), facts)
    stored = measurements.load("scaling", options.out)
    print(*write_page(page(stored), options.out), sep="\n")


if __name__ == "__main__":
    main()
