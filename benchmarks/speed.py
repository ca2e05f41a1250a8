"""How fast a training step is, in three ways: writes results/speed.md and .csv.

    python -m benchmarks.speed [--threads 1 2] [--out results/speed.md] [--profile-steps 500]

The ways are timed in turn, a few steps each, round after round in one process, so that whatever
else the machine does meets all of them; ratios are taken within a round.
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

from benchmarks.baselines import WAYS
from subspace_bench.common.files import write_atomically
from subspace_bench.common.hardware import peak_memory
from subspace_bench.datasets.dataset import Dataset
from subspace_bench.datasets.loading import load_or_embedded
from subspace_bench.experiments import STUDIES, Plan
from subspace_bench.kernels.cpu import projected_adam
from subspace_bench.profiling.timing import read_bandwidth
from subspace_bench.records import provenance
from subspace_bench.records.config import RunConfig
from subspace_bench.training import presets
from subspace_bench.training.loop import evaluate, prepare
from subspace_bench.training.optimizers import make_optimizer

DIMS = (None, 1_000, 3_000, 10_000)
POST, FAST = "post's way", "fast"
Timed = dict[str, np.ndarray]  # way → milliseconds a step, one number a round


def rounds(ways: Mapping[str, Callable[[], object]], count: int, steps: int) -> Timed:
    """Milliseconds a step of each way, in `count` rounds of `steps` steps each."""
    times = {name: np.zeros(count) for name in ways}
    for step in ways.values():  # compiles, and fills caches
        step(), step(), step()
    for i in range(count):
        names = list(ways)
        for name in names[i % len(names) :] + names[: i % len(names)]:
            began = time.perf_counter()
            for _ in range(steps):
                ways[name]()
            times[name][i] = (time.perf_counter() - began) / steps * 1e3
    return times


def row(labels: dict[str, Any], times: Timed, ours: str) -> dict[str, Any]:
    """Medians and quartiles of the times, and of the ratios to ours within each round."""
    found = dict(labels)
    for name, values in times.items():
        low, middle, high = np.percentile(values, (25, 50, 75))
        found |= {f"{name} ms": middle, f"{name} q25": low, f"{name} q75": high}
    for name, values in times.items():
        if name != ours:
            low, middle, high = np.percentile(values / times[ours], (25, 50, 75))
            found |= {f"{name} / {ours}": middle, f"{name} ratio q25": low}
            found |= {f"{name} ratio q75": high}
    return {k: round(float(v), 3) if isinstance(v, np.floating) else v for k, v in found.items()}


def steps_table(threads: Sequence[int], dataset: Dataset, count: int) -> list[dict[str, Any]]:
    """Whole training steps of the post's conv net."""
    table = []
    for dim in DIMS:
        run = presets.post("conv", dim, 100)
        ways = {name: make(run, dataset) for name, make in WAYS.items()}
        for n in threads:
            torch.set_num_threads(n)
            times = rounds(ways, count, 5 if dim == 10_000 else 10)
            table.append(row({"d": dim or "D", "threads": n}, times, FAST))
            print(table[-1], flush=True)
    return table


def projection_table(threads: Sequence[int], count: int) -> list[dict[str, Any]]:
    """Pᵀg, Adam and Pω alone: torch's two passes against one pass."""
    table = []
    native = 21_840
    for dim in DIMS[1:]:
        assert dim is not None
        ways = {
            "two passes": projection(projected_adam.step_eager, native, dim),
            "one pass": projection(projected_adam.step, native, dim),
        }
        for n in threads:
            torch.set_num_threads(n)
            found = row({"d": dim, "threads": n}, rounds(ways, count, 10), "one pass")
            found["one pass GB/s"] = round(4e-6 * native * dim / found["one pass ms"], 2)
            table.append(found)
            print(table[-1], flush=True)
    return table


def projection(update: Callable[..., None], native: int, dim: int) -> Callable[[], None]:
    """A call of `update` on a P of its own."""
    columns = torch.randn(dim, native).mul_(native**-0.5)
    gradient, origin, theta = torch.randn(native), torch.zeros(native), torch.empty(native)
    omega, m, v = torch.zeros(dim), torch.zeros(dim), torch.zeros(dim)

    def step() -> None:
        update(
            columns, gradient, omega, m, v, origin, theta,
            lr=3e-3, beta1=0.9, beta2=0.99, eps=1e-8, t=100,
        )  # fmt: skip

    return step


def profile_table(threads: int, dataset: Dataset, steps: int) -> list[dict[str, Any]]:
    """One seed of all the post trained: `steps` steps of each training, scaled to its length."""
    torch.set_num_threads(threads)
    plan = Plan("post", 1, dataset.name)
    wanted = dict.fromkeys(run for e in STUDIES.values() for run in e.cases(plan))
    trainings_of: dict[tuple[str, int | None], list[RunConfig]] = {}
    for run in wanted:
        trainings_of.setdefault((run.model, run.dim), []).append(run)
    table = []
    for (model, dim), runs in trainings_of.items():
        ways = {name: WAYS[name](runs[0], dataset) for name in (POST, FAST)}
        times = rounds(ways, steps // 10, 10)
        score = scoring_seconds(runs[0], dataset)
        found: dict[str, Any] = {"net": model, "d": dim or "D", "runs": len(runs)}
        found["updates"] = sum(run.protocol.steps for run in runs)
        scores = sum(run.protocol.steps // run.protocol.score_every + 1 for run in runs)
        for name in ways:
            mean = float(times[name].mean()) / 1e3
            found[f"{name} ms"] = mean * 1e3
            found[f"{name} s"] = mean * found["updates"] + score * scores
        table.append(found)
        print(table[-1], flush=True)
    return table


def scoring_seconds(run: RunConfig, dataset: Dataset) -> float:
    """The package's own scoring of all test images, which counts the same in all ways."""
    net = prepare(run)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        evaluate(net.module, dataset.test_images, dataset.test_labels, run.protocol.scale)
        times.append(time.perf_counter() - began)
    return min(times)


def peak_memory_mb(dim: int) -> int:
    """Megabytes that a process takes at most for the set-up and five steps at d, on one thread."""
    command = [sys.executable, "-m", "benchmarks.speed", "--memory-of", str(dim)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def memory_of(dim: int) -> int:
    """The body of `peak_memory_mb`'s process."""
    torch.set_num_threads(1)
    run = presets.post("conv", dim, 100)
    step = WAYS[FAST](run, load_or_embedded())
    for _ in range(5):
        step()
    return round(peak_memory() / 1e6)


def set_up_seconds(dim: int) -> float:
    """Making P and ω_init, on one thread."""
    torch.set_num_threads(1)
    run = presets.post("conv", dim, 100)
    began = time.perf_counter()
    make_optimizer(run, prepare(run))
    return time.perf_counter() - began


def shown(table: list[dict[str, Any]], drop: Sequence[str] = ("q25", "q75")) -> str:
    """The table in markdown, without the quartiles, which the csv has."""
    frame = pd.DataFrame(table)
    frame = frame[[c for c in frame.columns if not c.endswith(tuple(drop))]]
    named = frame.astype({name: str for name in ("net", "d", "threads") if name in frame})
    texts = [i for i, name in enumerate(named.columns) if named[name].dtype == "str"]
    return str(named.to_markdown(index=False, floatfmt=".2f", disable_numparse=texts))


def page(arguments: argparse.Namespace, dataset: Dataset) -> tuple[str, pd.DataFrame]:
    """The page and its numbers."""
    threads, count = arguments.threads, arguments.rounds
    facts = provenance.machine()
    reading = ", ".join(f"{read_bandwidth('cpu', n) / 1e9:.1f} GB/s with {n}" for n in threads)
    memory, set_up = peak_memory_mb(10_000), set_up_seconds(10_000)
    steps = steps_table(threads, dataset, count)
    projection = projection_table(threads, count)
    profile = profile_table(threads[0], dataset, arguments.profile_steps)
    total = {name: sum(r[f"{name} s"] for r in profile) for name in (POST, FAST)}
    command = "python -m benchmarks.speed " + " ".join(sys.argv[1:])
    parts = [
        "# Speed",
        f"{facts['cpu']} ({facts['cpu_capability']}), torch {facts['torch']}, numba "
        f"{facts['numba']}, Python {facts['python']}; data {dataset.name}. This machine reads "
        f"{reading} thread{'s' * (max(threads) > 1)}. `{command.strip()}`",
        "## A training step of the conv net, ms",
        "*post's way*: a DataLoader shuffled anew for every batch, torch's layers, θ cut into "
        "parameters, eager, autograd through Pω, torch's Adam. *resident eager*: data in memory, "
        "one flat θ, torch's layers, two passes over P, torch's Adam. *fast*: this package. "
        f"Medians of {count} rounds; the ratio is the median of the rounds' ratios.",
        shown(steps),
        "## The projection alone, ms",
        "Pᵀg, Adam on ω, θ₀ + Pω. *two passes*: torch's matrix-vector products. *one pass*: P is "
        "read once.",
        shown(projection),
        "## One seed of the whole `post` profile",
        f"Extrapolated, not run: the mean of {arguments.profile_steps} steps of each training on "
        f"{threads[0]} thread, times its updates, and its scores at the package's own speed in "
        f"both ways; without set-up. Post's way {total[POST] / 3600:.2f} h, fast "
        f"{total[FAST] / 3600:.2f} h: {total[POST] / total[FAST]:.2f} times faster.",
        shown(profile),
        "## Memory and set-up at d = 10,000",
        f"Peak of a process that makes P (874 MB) and trains: {memory / 1e3:.2f} GB. Making P: "
        f"{set_up:.1f} s on one thread.",
    ]
    frames = {"step": steps, "projection": projection, "profile": profile}
    numbers = [pd.DataFrame(rows).assign(table=name) for name, rows in frames.items()]
    return "\n\n".join(parts) + "\n", pd.concat(numbers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--profile-steps", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("results/speed.md"))
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print(memory_of(arguments.memory_of))
        return
    text, numbers = page(arguments, load_or_embedded())
    write_atomically(arguments.out, text)
    csv = numbers.round(3).to_csv(index=False, lineterminator="\n")
    write_atomically(arguments.out.with_suffix(".csv"), csv)
    print(text)


if __name__ == "__main__":
    main()
