"""How fast a training step is, by three methods: writes results/speed.md, .csv and .json.

    python -m benchmarks.speed [--threads 1 2] [--rounds 20] [--profile-steps 500] [--rebuild]
    python -m benchmarks.speed --subspace-only  # measures the table of `Subspace` again, 3 minutes

The methods take turns, a few steps each, round after round in one process, so that other load on
the machine affects all of them alike; ratios are taken within a round.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks import measurements, speed_subspace
from benchmarks.baselines import METHODS
from benchmarks.measurements import Measurements
from subspace_bench.common.hardware import peak_memory
from subspace_bench.datasets.dataset import Dataset
from subspace_bench.datasets.loading import load_or_embedded
from subspace_bench.experiments import STUDIES, Plan
from subspace_bench.kernels.cpu import projected_adam
from subspace_bench.profiling.timing import read_bandwidth
from subspace_bench.records import provenance
from subspace_bench.records.config import RunConfig
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.render import write_page
from subspace_bench.training import presets
from subspace_bench.training.loop import evaluate, prepare
from subspace_bench.training.optimizers import make_optimizer

NATIVE, DIMS = 21_840, (None, 1_000, 3_000, 10_000)  # of the post's conv net; None: θ itself
POST, FAST = "post's way", "fast"
Times = dict[str, np.ndarray]  # method → milliseconds per step, one number per round


def run_in_turns(calls: Mapping[str, Callable[[], object]], rounds: int, steps: int) -> Times:
    """Milliseconds per call, in rounds of `steps` calls; the order rotates."""
    times = {name: np.zeros(rounds) for name in calls}
    for call in calls.values():  # compiles, and fills caches
        call(), call(), call()
    for i in range(rounds):
        names = list(calls)
        for name in names[i % len(names) :] + names[: i % len(names)]:
            start = time.perf_counter()
            for _ in range(steps):
                calls[name]()
            times[name][i] = (time.perf_counter() - start) / steps * 1e3
    return times


def summarize(labels: dict[str, Any], times: Times, ours: str) -> dict[str, Any]:
    """A csv row: medians and quartiles of times, and of the ratios to ours within each round."""
    row = dict(labels)
    for name, values in times.items():
        low, middle, high = np.percentile(values, (25, 50, 75))
        row |= {f"{name} ms": middle, f"{name} q25": low, f"{name} q75": high}
    for name, values in times.items():
        if name != ours:
            low, middle, high = np.percentile(values / times[ours], (25, 50, 75))
            row |= {f"{name} / {ours}": middle}
            row |= {f"{name} ratio q25": low, f"{name} ratio q75": high}
    return {k: round(float(v), 3) if isinstance(v, np.floating) else v for k, v in row.items()}


def step_rows(threads: Sequence[int], dataset: Dataset, rounds: int) -> list[dict[str, Any]]:
    """Whole training steps of the post's conv net."""
    rows = []
    for dim in DIMS:
        run = presets.post("conv", dim, 100)
        calls = {name: make(run, dataset) for name, make in METHODS.items()}
        for n in threads:
            torch.set_num_threads(n)
            times = run_in_turns(calls, rounds, 5 if dim == 10_000 else 10)
            rows.append(summarize({"d": dim or "D", "threads": n}, times, FAST))
            print(rows[-1], flush=True)
    return rows


def projection_rows(threads: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """Only Pᵀg, Adam and Pω: torch's two passes over P, compared with one pass."""
    rows = []
    for dim in DIMS[1:]:
        assert dim is not None
        calls = {
            "two passes": projection_step(projected_adam.step_eager, dim),
            "one pass": projection_step(projected_adam.step, dim),
        }
        for n in threads:
            torch.set_num_threads(n)
            times = run_in_turns(calls, rounds, 10)
            row = summarize({"d": dim, "threads": n}, times, "one pass")
            row["one pass GB/s"] = round(4e-6 * NATIVE * dim / row["one pass ms"], 2)
            rows.append(row)
            print(row, flush=True)
    return rows


def projection_step(update: Callable[..., None], dim: int) -> Callable[[], None]:
    """A call of `update` with a new random P (d, D)."""
    columns = torch.randn(dim, NATIVE).mul_(NATIVE**-0.5)
    gradient, origin, theta = torch.randn(NATIVE), torch.zeros(NATIVE), torch.empty(NATIVE)
    omega, m, v = torch.zeros(dim), torch.zeros(dim), torch.zeros(dim)

    def step() -> None:
        update(
            columns, gradient, omega, m, v, origin, theta,
            lr=3e-3, beta1=0.9, beta2=0.99, eps=1e-8, t=100,
        )  # fmt: skip

    return step


def profile_rows(threads: int, dataset: Dataset, steps: int) -> list[dict[str, Any]]:
    """One seed of profile `post`: `steps` steps of each training, extrapolated to its length."""
    torch.set_num_threads(threads)
    plan = Plan("post", 1, dataset.name)
    runs_by_net: dict[tuple[str, int | None], list[RunConfig]] = {}
    for run in dict.fromkeys(run for study in STUDIES.values() for run in study.cases(plan)):
        runs_by_net.setdefault((run.model, run.dim), []).append(run)
    rows = []
    for (model, dim), runs in runs_by_net.items():
        calls = {name: METHODS[name](runs[0], dataset) for name in (POST, FAST)}
        times = run_in_turns(calls, steps // 10, 10)
        row: dict[str, Any] = {"net": model, "d": dim or "D", "runs": len(runs)}
        row["updates"] = sum(run.protocol.steps for run in runs)
        scores = sum(run.protocol.steps // run.protocol.score_every + 1 for run in runs)
        scoring = scores * seconds_to_score(runs[0], dataset)
        for name in calls:
            mean = float(times[name].mean()) / 1e3
            row[f"{name} ms"] = mean * 1e3
            row[f"{name} s"] = mean * row["updates"] + scoring
        rows.append(row)
        print(row, flush=True)
    return rows


def seconds_to_score(run: RunConfig, dataset: Dataset) -> float:
    """Seconds in which the package scores all test images; equal for all methods."""
    net = prepare(run)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        evaluate(net.module, dataset.test_images, dataset.test_labels, run.protocol.scale)
        times.append(time.perf_counter() - start)
    return min(times)


def peak_megabytes(dim: int) -> int:
    """Peak memory of a new process that constructs P and takes five steps, on one thread."""
    command = [sys.executable, "-m", "benchmarks.speed", "--memory-of", str(dim)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def train_five_steps(dim: int) -> int:
    """Runs in that process; returns its peak memory in megabytes."""
    torch.set_num_threads(1)
    step = METHODS[FAST](presets.post("conv", dim, 100), load_or_embedded())
    for _ in range(5):
        step()
    return round(peak_memory() / 1e6)


def set_up_seconds(dim: int) -> float:
    """Seconds to construct P and ω₀ on one thread."""
    torch.set_num_threads(1)
    run = presets.post("conv", dim, 100)
    start = time.perf_counter()
    make_optimizer(run, prepare(run))
    return time.perf_counter() - start


def measure(threads: Sequence[int], rounds: int, profile_steps: int, out: Path) -> None:
    """Measures everything on the page and saves it."""
    dataset = load_or_embedded()
    facts = {
        **provenance.machine(),
        "dataset": dataset.name,
        "rounds": rounds,
        "profile_steps": profile_steps,
        "read_gb_per_s": {n: round(read_bandwidth("cpu", n) / 1e9, 1) for n in threads},
        "peak_memory_mb": peak_megabytes(10_000),
        "set_up_s": round(set_up_seconds(10_000), 1),
    }
    frames = {
        "step": step_rows(threads, dataset, rounds),
        "projection": projection_rows(threads, rounds),
        "profile": profile_rows(threads[0], dataset, profile_steps),
    }
    rows = [pd.DataFrame(found).assign(table=name) for name, found in frames.items()]
    measurements.save("speed", out, pd.concat(rows).round(3), facts)
    measure_subspace(max(threads), 3 * rounds, out)


def measure_subspace(threads: int, rounds: int, out: Path) -> None:
    """Measures the table of `Subspace`, and puts it in place of the saved one."""
    saved = measurements.load("speed", out)
    rows = pd.DataFrame(speed_subspace.measure(threads, rounds)).assign(table="subspace")
    others = saved.numbers[saved.numbers["table"] != "subspace"]
    facts = saved.facts | {
        "subspace": {**provenance.machine(), "threads": threads, "rounds": rounds}
    }
    measurements.save("speed", out, pd.concat([others, rows]), facts)


def page(measurements: Measurements) -> Page:
    """The page results/speed.md."""
    frames = {str(name): frame for name, frame in measurements.numbers.groupby("table", sort=False)}
    steps = frames["step"][frames["step"]["threads"] == 1].set_index("d")
    hours = {name: frames["profile"][f"{name} s"].sum() / 3600 for name in (POST, FAST)}
    values = {
        "facts": measurements.facts,
        "bandwidth": ", ".join(
            f"{speed} GB/s with {n} thread{'s' * (int(n) > 1)}"
            for n, speed in measurements.facts["read_gb_per_s"].items()
        ),
        "post_hours": f"{hours[POST]:.2f}",
        "our_hours": f"{hours[FAST]:.2f}",
        "profile_ratio": f"{hours[POST] / hours[FAST]:.2f}",
        "peak_gb": f"{measurements.facts['peak_memory_mb'] / 1e3:.2f}",
    }
    summary = (
        f"One thread: a training step of the post's conv net takes {steps[f'{FAST} ms']['D']:.1f} "
        f"ms at d = D ({steps[f'{POST} / {FAST}']['D']:.1f} times faster than the post's way) and "
        f"{steps[f'{FAST} ms']['10000']:.1f} ms at d = 10,000 "
        f"({steps[f'{POST} / {FAST}']['10000']:.1f} times); the whole `post` profile takes "
        f"{values['our_hours']} h instead of {values['post_hours']} h."
    )
    subspace = frames.pop("subspace")
    tables = {name: shown(frame) for name, frame in frames.items()}
    tables["subspace"] = speed_subspace.shown(subspace)
    command = "python -m benchmarks.speed --rebuild"
    return Page(
        "speed", "Speed of training", summary, tables, measurements.text, values, command=command
    )


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """A table of the page: no quartiles (the csv has them) and no empty columns."""
    frame = frame.dropna(axis="columns", how="all").drop(columns="table")
    frame = frame[[c for c in frame.columns if not c.endswith(("q25", "q75"))]]
    first = [c for c in ("net", "d", "threads", "runs", "updates") if c in frame]
    decimals = 1 if "net" in frame else 2  # times of the profile are extrapolated

    def show(cell: Any, digits: int) -> str:
        text = str(cell)  # counts are strings where the column also has "D" or a net
        if text.isdecimal():
            return f"{int(text):,}"
        return text if isinstance(cell, str) else f"{cell:,.{digits}f}"

    names = [*first, *frame.columns.difference(first, sort=False)]
    return pd.DataFrame(
        {name: [show(c, 0 if name in first else decimals) for c in frame[name]] for name in names}
    )


def main() -> None:
    parser = measurements.options(__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--profile-steps", type=int, default=500)
    parser.add_argument(
        "--subspace-only", action="store_true", help="measure only the table of `Subspace` again"
    )
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(train_five_steps(options.memory_of))
        return
    if options.subspace_only:
        measure_subspace(max(options.threads), 3 * options.rounds, options.out)
    elif not options.rebuild:
        measure(options.threads, options.rounds, options.profile_steps, options.out)
    print(*write_page(page(measurements.load("speed", options.out)), options.out), sep="\n")


if __name__ == "__main__":
    main()
