"""Our projectors beside other people's: writes results/peers.md and .csv.

    python -m benchmarks.peers --peers FOLDER [--out results/peers.md]

FOLDER (or SUBSPACE_BENCH_PEERS) holds the two projects of CLONES, which no package index has in
usable form, in folders of these names. The others are the extra `peers` of this package: `pip
install -c constraints.txt -e .[peers]`. What is not there is left out, and the page says so.

All ways of a row do the same work in one process, in turn, round after round: forward and adjoint
of one vector in float32, set-up apart, through autograd where the peer has no adjoint of its own.
Before it is timed, each way is checked to be a linear map with its adjoint, or the transform.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.peer_faults import MUTATIONS
from benchmarks.peer_ways import INTRINSIC, ONE, PACTL, comparisons
from benchmarks.speed import rounds
from subspace_bench import projectors
from subspace_bench.common.files import write_atomically
from subspace_bench.common.formatting import format_significant
from subspace_bench.records import provenance
from subspace_bench.reporting.render import markdown_table

VARIABLE = "SUBSPACE_BENCH_PEERS"
CLONES = {
    INTRINSIC: "https://github.com/jgamper/intrinsic-dimensionality at commit 1872b8f",
    PACTL: "https://github.com/activatedgeek/tight-pac-bayes at commit 09d838d; its files "
    "pactl/nn/projectors.py and linear_operator_base.py in a package `pactl_projectors`",
}
SET_UPS = ((21_840, 1_000), (21_840, 10_000))  # (D, d)
PACKAGES = ("fht-cpu", "hadamard-transform", "pyfwht", "scikit-learn", "scipy", "torch")
OMITTED = (
    "intrinsic-dimensionality's dense wrapper (a module that multiplies stored matrices with "
    "torch.matmul: no product of its own); tight-pac-bayes' one-sided and QR Kroneckers and FiLM "
    "maps (ours have no counterpart); scikit-learn's GaussianRandomProjection (a stored matrix and "
    "NumPy's product); fast-hadamard-transform (CUDA alone)"
)


def steps_of(call: Callable[[], object]) -> int:
    """Calls a round, so that one of a few microseconds is not measured by itself."""
    began = time.perf_counter()
    for _ in range(3):
        call()
    return min(300, max(3, int(0.01 / (time.perf_counter() - began))))


def measured(threads: int, count: int) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of the table, and what was not there."""
    torch.set_num_threads(threads)
    rows, absent = [], []
    for what, at, makers in comparisons():
        calls: dict[str, Callable[[], object]] = {}
        for name, make in makers.items():
            try:
                way = make()
                way.check()
                calls[name] = way.call
            except ImportError as failure:
                absent.append(f"{name} ({failure})")
            except Exception as failure:
                absent.append(f"{name}, {what} {at}: {type(failure).__name__}: {failure}")
        times = rounds(calls, count, steps_of(calls["ours"]))
        for name, values in times.items():
            labels = {"what": what, "size": at, "threads": threads, "way": name}
            ratios = values / times["ours"]
            rows.append(labels | quartiles("ms", values) | quartiles("× ours", ratios))
            print(rows[-1], flush=True)
    return rows, list(dict.fromkeys(absent))


def quartiles(name: str, values: np.ndarray) -> dict[str, float]:
    """The median under the name, and the quartiles."""
    low, middle, high = np.percentile(values, (25, 50, 75)).tolist()
    return {name: middle, f"{name} q25": low, f"{name} q75": high}


def beside_ours(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """A row for each peer, with our time beside its own; ours comes first in `rows`."""
    found, ours = [], 0.0
    for row in rows:
        if row["way"] == "ours":
            ours = row["ms"]
            continue
        labels = {name: str(row[name]) for name in ("what", "size", "threads")}
        labels |= {
            "peer": row["way"],
            "its ms": format_significant(row["ms"]),
            "our ms": format_significant(ours),
        }
        found.append(labels | {"times ours": format_significant(row["× ours"])})
    return found


def behind(rows: list[dict[str, Any]]) -> str:
    """Where a peer is faster, said before the table."""
    found = [
        f"{row['way']} at {row['what']} {row['size']} ({row['threads']}, {row['× ours']:.2g})"
        for row in rows if row["× ours"] < 1 and not row["way"].startswith("ours")
    ]  # fmt: skip
    return f"**Faster than ours** (threads, ratio): {'; '.join(found)}. " if found else ""


def installed() -> list[str]:
    """The packages that are here, with their versions."""
    found = {d.name.replace("_", "-").lower(): d.version for d in metadata.distributions()}
    return [f"{name} {found[name]}" for name in PACKAGES if name in found]


def set_ups(threads: int) -> list[dict[str, str]]:
    """Seconds to make orthonormal columns: ours, Gaussian numbers drawn included, and torch's QR.

    torch's starts from Gaussian numbers in float64, as the post's code does; each is timed once.
    """
    torch.set_num_threads(threads)
    projectors.make("orthonormal", 2_000, 600, seed=0)  # what is done once
    rows = []
    for native, dim in SET_UPS:
        began = time.perf_counter()
        projectors.make("orthonormal", native, dim, seed=0)
        ours = time.perf_counter() - began
        gaussian = torch.randn(native, dim, dtype=torch.float64)
        began = time.perf_counter()
        torch.linalg.qr(gaussian)
        its = time.perf_counter() - began
        labels = {"size": f"{native:,} × {dim:,}", "threads": str(threads)}
        rows.append(labels | {"torch.linalg.qr, float64, s": format_significant(its),
                              "ours, s": format_significant(ours),
                              "times ours": format_significant(its / ours)})  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def page(
    rows: list[dict[str, Any]], absent: list[str], set_up: list[dict[str, str]], count: int
) -> str:
    """The page as markdown."""
    facts = provenance.machine()
    parts = [
        "# Beside other people's projectors",
        f"{facts['cpu']} ({facts['cpu_capability']}), torch {facts['torch']}, numba "
        f"{facts['numba']}. Forward and adjoint of one vector, set-up apart, in float32 where no "
        "other dtype is named (a Hadamard transform is its own adjoint, and stands once); through "
        "autograd, ours too, where the peer has no adjoint of its own; all ways of a row in one "
        "process, in turn, each checked before to be a linear map with its adjoint, or the "
        f"transform, to rounding. Medians of {count} rounds; the ratio is the median of the "
        "rounds' ratios (quartiles in the .csv). Whatever the row's threads, a peer marked "
        f"{ONE} has none to give to one vector. Measure again: "
        "`python -m benchmarks.peers --peers FOLDER`.",
        f"{behind(rows)}Our ms are of float32: a peer in float64 is to be held against *ours, "
        "float64*. 199,210 is 2 · 5 · 11 · 1,811, and a DCT slow at a large prime factor.",
        markdown_table(pd.DataFrame(beside_ours(rows))),
        "Peers: " + "; ".join(f"{name}, {where}" for name, where in CLONES.items()) + "; from the "
        f"package index {', '.join(installed())}.",
        f"Left out on purpose: {OMITTED}.",
        *(["Not there, or wrong, and left out: " + "; ".join(absent) + "."] if absent else []),
        "## Set-up of orthonormal columns",
        "Of `orthonormal`, with the Gaussian numbers it starts from; of torch's QR without. Each "
        "once.",
        markdown_table(pd.DataFrame(set_up)),
        "## Where answers differ",
        "Each case is run when this page is written.",
        "\n".join(f"- {line}" for fault in MUTATIONS for line in [fault()] if line),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", type=Path, default=os.environ.get(VARIABLE))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("results/peers.md"))
    arguments = parser.parse_args()
    if arguments.peers:
        folders = [Path(arguments.peers) / name for name in CLONES]
        if lacking := [folder for folder in folders if not folder.is_dir()]:
            parser.error(f"no folder {lacking[0]}: --peers is to hold {' and '.join(CLONES)}")
        sys.path[:0] = map(str, folders)
    else:
        print(f"left out without --peers: {', '.join(CLONES)}", file=sys.stderr)
    rows: list[dict[str, Any]] = []
    absent: list[str] = []
    for threads in arguments.threads:
        found, missing = measured(threads, arguments.rounds)
        rows, absent = rows + found, [*absent, *(m for m in missing if m not in absent)]
    set_up = [row for threads in arguments.threads for row in set_ups(threads)]
    write_atomically(arguments.out, page(rows, absent, set_up, arguments.rounds))
    csv = pd.DataFrame(rows).round(5).to_csv(index=False, lineterminator="\n")
    write_atomically(arguments.out.with_suffix(".csv"), csv)
    print(arguments.out)


if __name__ == "__main__":
    main()
