"""Our projectors beside other people's: writes results/peers.md and .csv.

    python -m benchmarks.peers --peers FOLDER [--out results/peers.md]

FOLDER (or SUBSPACE_BENCH_PEERS) holds two projects that no package index has in usable form, as
`intrinsic-dimensionality/` (github.com/jgamper/intrinsic-dimensionality, commit 1872b8f) and
`tight-pac-bayes/` (github.com/activatedgeek/tight-pac-bayes, commit 09d838d; its files
pactl/nn/projectors.py and linear_operator_base.py in a package `pactl_projectors`). The others are
the extra `peers` of this package. What is not there is left out, and the page says so.

All ways of a row do the same work in one process, in turn, round after round: forward and adjoint
of one vector in float32, set-up apart, through autograd where the peer has no adjoint of its own.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks.peer_faults import FAULTS
from benchmarks.speed import rounds
from subspace_bench import projectors, provenance
from subspace_bench.projectors.hadamard import hadamard_
from subspace_bench.projectors.sparse import Sparse
from subspace_bench.report import table
from subspace_bench.runs import write_atomically

VARIABLE = "SUBSPACE_BENCH_PEERS"
Way = Callable[[], object]
INTRINSIC, PACTL = "intrinsic-dimensionality", "tight-pac-bayes"


def both_ways(act: Callable[[Tensor], Tensor], native: int, dim: int) -> Way:
    """Forward, and the adjoint through autograd."""
    omega = torch.zeros(dim).requires_grad_()
    theta = torch.randn(native)

    def call() -> Tensor:
        omega.grad = None
        act(omega).backward(theta)  # type: ignore[no-untyped-call]
        return omega

    return call


def ours(name: str, native: int, dim: int) -> Way:
    """Ours as a peer is called, through autograd."""
    return both_ways(projectors.make(name, native, dim, 0), native, dim)


def intrinsic_fastfood(native: int, dim: int) -> Way:
    fastfood = importlib.import_module("intrinsic.fastfood")
    drawn = fastfood.fastfood_vars(native, "cpu")
    return both_ways(lambda w: fastfood.fastfood_torched(w, native, drawn), native, dim)


def pactl(name: str, native: int, dim: int) -> Way:
    kinds = importlib.import_module("pactl_projectors.projectors")
    operator = getattr(kinds, name)(native, dim, None, None)
    return both_ways(lambda w: operator @ w, native, dim)


def sklearn_sparse(native: int, dim: int) -> Way:
    """The random matrix of `SparseRandomProjection`, applied and transposed by SciPy."""
    kinds = importlib.import_module("sklearn.random_projection")
    chosen = kinds.SparseRandomProjection(dim, density=native**-0.5, random_state=0)
    chosen.fit(np.zeros((1, native), np.float32))
    matrix = chosen.components_.astype(np.float32).tocsr()
    transposed = matrix.T.tocsr()
    omega, theta = np.ones(dim, np.float32), np.ones(native, np.float32)
    return lambda: (transposed @ omega, matrix @ theta)


def torch_sparse(native: int, dim: int) -> Way:
    """The entries of our `sparse` as a torch.sparse CSR tensor and its transpose."""
    p = projectors.make("sparse", native, dim, 0)
    assert isinstance(p, Sparse)
    rows, columns = p._places()
    dense = torch.sparse_coo_tensor(
        torch.stack([rows, columns.long() // 2]), torch.ones(len(rows)), (native, dim)
    )
    forward, back = dense.to_sparse_csr(), dense.T.to_sparse_csr()
    omega, theta = torch.ones(dim), torch.ones(native)
    return lambda: (forward @ omega, back @ theta)


def hadamards(size: int) -> Iterator[tuple[str, Callable[[], Way]]]:
    """Transforms of one float32 vector, in place where the peer can."""

    def own() -> Way:
        x = torch.zeros(size)
        return lambda: hadamard_(x)

    def peer_torch() -> Way:
        act = importlib.import_module("hadamard_transform").hadamard_transform
        x = torch.zeros(1, size)
        return lambda: act(x)

    def peer_fht() -> Way:
        act = importlib.import_module("fht_cpu").fht
        x = np.zeros(size, np.float32)
        return lambda: act(x)

    def peer_pyfwht() -> Way:
        pyfwht = importlib.import_module("pyfwht")
        x = np.zeros(size, np.float64)
        return lambda: pyfwht.transform(x, pyfwht.Backend.CPU)

    def scipy_matrix() -> Way:
        matrix = torch.from_numpy(
            importlib.import_module("scipy.linalg").hadamard(size).astype(np.float32)
        )
        x = torch.zeros(size)
        return lambda: matrix @ x

    yield "ours", own
    yield "hadamard-transform", peer_torch
    yield "fht-cpu", peer_fht
    yield "pyfwht (float64)", peer_pyfwht
    if size <= 1 << 12:
        yield "scipy.linalg.hadamard", scipy_matrix


def comparisons() -> Iterator[tuple[str, str, dict[str, Callable[[], Way]]]]:
    """(what, size, ways) of each row; ways are made when their turn comes."""
    post, million = (21_840, 1_000), (1 << 20, 1_000)
    for at in (post, (1 << 20, 10_000)):
        yield "Fastfood", f"{at[0]:,} × {at[1]:,}", {
            "ours": lambda at=at: ours("fastfood", *at),  # type: ignore[misc]
            INTRINSIC: lambda at=at: intrinsic_fastfood(*at),  # type: ignore[misc]
        }  # fmt: skip
    yield "Fastfood", "21,840 × 1,000", {
        "ours": lambda: ours("fastfood", *post), PACTL: lambda: pactl("FastfoodOperator", *post),
    }  # fmt: skip
    for name in ("regenerated", "regenerated-signs"):
        yield f"dense, not stored ({name})", "21,840 × 1,000", {
            "ours": lambda name=name: ours(name, *post),  # type: ignore[misc]
            f"{PACTL} LazyRandom": lambda: pactl("LazyRandom", *post),
        }  # fmt: skip
    yield "dense, stored", "21,840 × 1,000", {
        "ours": lambda: ours("orthonormal", *post),
        f"{PACTL} LazyRandomQR": lambda: pactl("LazyRandomQR", *post),
    }  # fmt: skip
    yield "Kronecker", "1,048,576 × 1,000", {
        "ours": lambda: ours("kronecker", *million),
        f"{PACTL} RoundedDoubleKron": lambda: pactl("RoundedDoubleKron", *million),
    }  # fmt: skip
    yield "sparse", "1,048,576 × 1,000", {
        "ours": lambda: ours("sparse", *million),
        f"{PACTL} SparseOperator": lambda: pactl("SparseOperator", *million),
        "scikit-learn": lambda: sklearn_sparse(*million),
        "torch.sparse CSR": lambda: torch_sparse(*million),
    }  # fmt: skip
    for bits in (12, 15, 20, 24):
        yield "Hadamard transform", f"2^{bits}", dict(hadamards(1 << bits))


def steps_of(way: Way) -> int:
    """Calls a round, so that one of a few microseconds is not measured by itself."""
    began = time.perf_counter()
    for _ in range(3):
        way()
    return min(300, max(3, int(0.01 / (time.perf_counter() - began))))


def measured(threads: int, count: int) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of the table, and what was not there."""
    torch.set_num_threads(threads)
    rows, absent = [], []
    for what, at, makers in comparisons():
        ways: dict[str, Way] = {}
        for name, make in makers.items():
            try:
                way = make()
                way()
                ways[name] = way
            except ImportError as failure:
                absent.append(f"{name} ({failure})")
            except Exception as failure:
                absent.append(f"{name}, {what} {at}: {type(failure).__name__}: {failure}")
        times = rounds(ways, count, steps_of(ways["ours"]))
        for name in times:
            ratio = np.median(times[name] / times["ours"])
            rows.append({"what": what, "size": at, "threads": threads, "way": name,
                         "ms": float(np.median(times[name])), "× ours": float(ratio)})  # fmt: skip
            print(rows[-1], flush=True)
    return rows, list(dict.fromkeys(absent))


def page(rows: list[dict[str, Any]], absent: list[str], count: int) -> str:
    """The page as markdown."""
    facts = provenance.machine()
    shown = pd.DataFrame(rows)
    for name in ("ms", "× ours"):
        shown[name] = shown[name].map("{:.3g}".format)
    shown = shown.astype(str)
    parts = [
        "# Beside other people's projectors",
        f"{facts['cpu']} ({facts['cpu_capability']}), torch {facts['torch']}, numba "
        f"{facts['numba']}. Forward and adjoint of one float32 vector, set-up apart, through "
        "autograd where the peer has no adjoint of its own; all ways of a row in one process, in "
        f"turn, medians of {count} rounds; the ratio is the median of the rounds' ratios. "
        "`python -m benchmarks.peers`, whose first lines say where the peers are from.",
        table(shown),
        *(["Not there, and left out: " + "; ".join(absent) + "."] if absent else []),
        "## Where answers differ",
        "Each case is run when this page is written.",
        "\n".join(f"- {line}" for fault in FAULTS for line in [fault()] if line),
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
        sys.path[:0] = [str(Path(arguments.peers) / name) for name in (INTRINSIC, PACTL)]
    rows: list[dict[str, Any]] = []
    absent: list[str] = []
    for threads in arguments.threads:
        found, missing = measured(threads, arguments.rounds)
        rows, absent = rows + found, [*absent, *(m for m in missing if m not in absent)]
    write_atomically(arguments.out, page(rows, absent, arguments.rounds))
    csv = pd.DataFrame(rows).round(5).to_csv(index=False, lineterminator="\n")
    write_atomically(arguments.out.with_suffix(".csv"), csv)
    print(arguments.out)


if __name__ == "__main__":
    main()
