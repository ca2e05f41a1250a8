"""Our projectors compared with other packages': writes results/peers.md, .csv and .json.

    python -m benchmarks.peers --peers FOLDER [--threads 1 2] [--rounds 15] [--rebuild]
    python -m benchmarks.peers --accuracy  # trains for the table of accuracy, an hour; resumes

FOLDER (or SUBSPACE_BENCH_PEERS) has the two repositories of CLONES, which are not on the package
index, in folders of these names; CONTRIBUTING.md has the commands. The other peers are this
package's extra `peers`. Peers that are not installed are left out and listed.

All implementations of a task take turns in one process. Each is checked before it is timed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks import measurements, peer_accuracy, peer_accuracy_table
from benchmarks.measurements import Measurements
from benchmarks.peer_differences import measure_differences
from benchmarks.peer_timings import INTRINSIC, ONE, PACTL, comparisons
from benchmarks.speed import run_in_turns
from subspace_bench import projectors
from subspace_bench.common.formatting import format_significant
from subspace_bench.records import provenance
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.render import write_page

VARIABLE = "SUBSPACE_BENCH_PEERS"
CLONES = (INTRINSIC, PACTL)
SET_UPS = ((21_840, 1_000), (21_840, 10_000))  # (D, d)
PACKAGES = ("fht-cpu", "hadamard-transform", "pyfwht", "scikit-learn", "scipy", "torch")


def calls_per_round(call: Callable[[], object]) -> int:
    """The number of calls that take about 10 ms, as single calls may be too short to time."""
    start = time.perf_counter()
    for _ in range(3):
        call()
    return min(300, max(3, int(0.01 / (time.perf_counter() - start))))


def measure_timings(threads: int, rounds: int) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of the csv, and the peers that are missing or failed verification."""
    torch.set_num_threads(threads)
    rows, left_out = [], []
    for task, size, builders in comparisons():
        calls: dict[str, Callable[[], object]] = {}
        for name, build in builders.items():
            try:
                implementation = build()
                implementation.check()
                calls[name] = implementation.call
            except ImportError as failure:
                left_out.append(f"{name} ({failure})")
            except Exception as failure:
                left_out.append(f"{name}, {task} {size}: {type(failure).__name__}: {failure}")
        times = run_in_turns(calls, rounds, calls_per_round(calls["ours"]))
        for name, values in times.items():
            labels = {"task": task, "size": size, "threads": threads, "implementation": name}
            ratios = values / times["ours"]
            rows.append(labels | quartiles("ms", values) | quartiles("× ours", ratios))
            print(rows[-1], flush=True)
    return rows, left_out


def quartiles(name: str, values: np.ndarray) -> dict[str, float]:
    """The median, named `name`, and the quartiles."""
    low, middle, high = np.percentile(values, (25, 50, 75)).tolist()
    return {name: middle, f"{name} q25": low, f"{name} q75": high}


def measure_set_ups(threads: int) -> list[dict[str, Any]]:
    """Seconds to make orthonormal columns: ours, including the Gaussian numbers, and torch's QR.

    torch's starts from Gaussian numbers in float64, as the post's code does. Each is timed once.
    """
    torch.set_num_threads(threads)
    projectors.make("orthonormal", 2_000, 600, seed=0)  # compiles
    rows = []
    for native, dim in SET_UPS:
        start = time.perf_counter()
        projectors.make("orthonormal", native, dim, seed=0)
        ours = time.perf_counter() - start
        gaussian = torch.randn(native, dim, dtype=torch.float64)
        start = time.perf_counter()
        torch.linalg.qr(gaussian)
        theirs = time.perf_counter() - start
        labels = {"size": f"{native:,} × {dim:,}", "threads": str(threads)}
        rows.append(labels | {"torch.linalg.qr, float64, s": format_significant(theirs),
                              "ours, s": format_significant(ours),
                              "times ours": format_significant(theirs / ours)})  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def measure(threads: Sequence[int], rounds: int, out: Path) -> None:
    """Measures everything on the page and saves it."""
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    for n in threads:
        more, failed = measure_timings(n, rounds)
        rows, left_out = rows + more, left_out + failed
    versions = {d.name.replace("_", "-").lower(): d.version for d in metadata.distributions()}
    facts = {
        **provenance.machine(),
        "rounds": rounds,
        "packages": {name: versions[name] for name in PACKAGES if name in versions},
        "left_out": list(dict.fromkeys(left_out)),
        "set_up": [row for n in threads for row in measure_set_ups(n)],
        "differences": measure_differences(),
    }
    measurements.save("peers", out, pd.DataFrame(rows).round(5), facts)


def page(measurements: Measurements, accuracy: Measurements) -> Page:
    """The page results/peers.md, from timings and accuracies."""
    rows = measurements.numbers
    ratios = peer_ratios(rows)
    faster = rows.loc[ratios.index[ratios < 1]]
    tables = {
        "faster": beside_ours(rows, only=faster.index),
        "timings": beside_ours(rows),
        "set_up": pd.DataFrame(measurements.facts["set_up"]),
        "accuracy": peer_accuracy_table.table(accuracy.numbers),
    }
    values = {
        "facts": measurements.facts,
        "differences": measurements.facts["differences"],
        "packages": ", ".join(f"{n} {v}" for n, v in measurements.facts["packages"].items()),
        "left_out": "; ".join(measurements.facts["left_out"]) or "none",
        "one_thread": ONE,
        "accuracy": accuracy.facts,
        "epochs": peer_accuracy.EPOCHS,
    }
    exceptions = faster["implementation"] + " at " + faster["task"] + " " + faster["size"]
    summary = (
        f"Ours is faster in {(ratios >= 1).sum()} of {len(ratios)} comparisons, by a median factor "
        f"of {format_significant(float(ratios.median()))}. "
        f"Faster than ours: {', '.join(exceptions.unique()) or 'none'}."
    )
    if found := peer_accuracy_table.finding(accuracy.numbers):
        summary += f" {found}."
    command = "python -m benchmarks.peers --rebuild"
    title = "Our projectors compared with other packages'"
    return Page("peers", title, summary, tables, measurements.text, values, command=command)


def peer_ratios(rows: pd.DataFrame) -> pd.Series[float]:
    """Index of each row of another package → its time over ours in the same type.

    In `rows`, ours comes first in each comparison, and ours in float64 before float64 peers.
    """
    names = rows["implementation"]
    ours, wide = (rows["ms"].where(names == name).ffill() for name in ("ours", "ours, float64"))
    ratios = rows["ms"] / wide.where(names.str.contains("float64"), ours)
    return ratios[~names.str.startswith("our") & ~names.str.contains("two sums")]


def beside_ours(rows: pd.DataFrame, only: pd.Index | None = None) -> pd.DataFrame:
    """One row for each other implementation (those in `only`), with our time in float32."""
    ours = rows["ms"].where(rows["implementation"] == "ours").ffill()
    others = rows[rows["implementation"] != "ours"]
    if only is not None:
        others = others.loc[only]
    return pd.DataFrame(
        {
            **{name: others[name] for name in ("task", "size", "threads", "implementation")},
            "its ms": others["ms"].map(format_significant),
            "our ms": ours[others.index].map(format_significant),
            "times ours": others["× ours"].map(format_significant),
        }
    )


def main() -> None:
    parser = measurements.options(__doc__)
    parser.add_argument("--peers", type=Path, default=os.environ.get(VARIABLE))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--accuracy", action="store_true", help="measure only accuracy (resumes)")
    options = parser.parse_args()
    if options.accuracy:
        peer_accuracy.measure(options.out)
    elif not options.rebuild:
        if options.peers:
            folders = [Path(options.peers) / name for name in CLONES]
            if missing := [folder for folder in folders if not folder.is_dir()]:
                parser.error(f"no folder {missing[0]}: --peers must hold {' and '.join(CLONES)}")
            sys.path[:0] = map(str, folders)
        else:
            print(f"left out without --peers: {', '.join(CLONES)}", file=sys.stderr)
        measure(options.threads, options.rounds, options.out)
    loaded = (measurements.load(name, options.out) for name in ("peers", peer_accuracy.NAME))
    print(*write_page(page(*loaded), options.out), sep="\n")


if __name__ == "__main__":
    main()
