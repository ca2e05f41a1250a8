"""What a projector costs on this machine: time, memory, distortion; one cell of `compare`.

The same cases serve `subspace-bench compare` and the asv suite.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from subspace_bench import projectors
from subspace_bench.machine import (
    peak_memory,
    release_free_memory,
    reset_peak_memory,
    resident_memory,
)
from subspace_bench.projectors import Projector

PAIRS = 10_000  # of columns, sampled for the coherence
DRAWS = 24  # of ω, for the distortion of norms
LONG_ENOUGH = 0.3  # seconds of samples, after which `repeat` of them are enough
DTYPES = ("float32", "float64", "bfloat16", "float16")


@dataclass(frozen=True)
class Case:
    """One cell: a projector at a size, on a device, in a dtype of ω and θ."""

    projector: str
    native: int
    dim: int
    device: str = "cpu"
    dtype: str = "float32"

    @property
    def needed_bytes(self) -> int:
        """Predicted: the projector, made and applied, beside two ω and two θ."""
        need = projectors.load(self.projector).footprint(self.native, self.dim)
        return need.held + need.working + 2 * itemsize(self.dtype) * (self.native + self.dim)

    @property
    def label(self) -> str:
        return f"{self.projector} {self.native:,} × {self.dim:,}"


def itemsize(dtype: str) -> int:
    """Bytes of one number."""
    return torch.empty(0, dtype=getattr(torch, dtype)).element_size()


def measure(case: Case, repeat: int, threads: int) -> dict[str, Any]:
    """Makes the projector of a case and measures it.

    Returns bytes held, and at most in a forward and a transpose (beside ω and θ); seconds of
    set-up; milliseconds of forward and transpose, median and quartiles; the mean and the standard
    deviation of ‖Pω‖/‖ω‖ over random ω; and the coherence, the largest |⟨p_i, p_j⟩| among sampled
    pairs of columns.
    """
    torch.set_num_threads(threads)
    began = time.perf_counter()
    projector = projectors.make(case.projector, case.native, case.dim, seed=0).to(case.device)
    omega, theta = vectors(case)
    synchronise(case.device)
    found: dict[str, Any] = {"setup_s": time.perf_counter() - began}
    found["held_bytes"] = projector.nbytes
    with torch.no_grad():
        found["peak_bytes"] = peak(case, projector, omega, theta)
        found |= timed("forward", lambda: projector(omega), case.device, repeat)
        found |= timed("transpose", lambda: projector.transpose(theta), case.device, repeat)
        found |= quality(projector, omega)
    return found


def vectors(case: Case) -> tuple[Tensor, Tensor]:
    """A random ω (d,) and θ (D,), the same on every device."""
    draw = torch.Generator().manual_seed(0)
    kind: torch.dtype = getattr(torch, case.dtype)
    return tuple(
        torch.randn(size, generator=draw).to(case.device, kind) for size in (case.dim, case.native)
    )  # type: ignore[return-value]


def timed(name: str, act: Callable[[], Tensor], device: str, repeat: int) -> dict[str, float]:
    """Milliseconds of one call: median and quartiles of at least `repeat` samples."""
    act()  # compiles, and fills caches
    samples: list[float] = []
    while len(samples) < repeat or (sum(samples) < LONG_ENOUGH and len(samples) < 50 * repeat):
        synchronise(device)
        began = time.perf_counter()
        act()
        synchronise(device)
        samples.append(time.perf_counter() - began)
    low, middle, high = np.percentile(np.array(samples) * 1e3, (25, 50, 75))
    return {f"{name}_ms": middle, f"{name}_q25": low, f"{name}_q75": high}


def quality(projector: Projector, like: Tensor) -> dict[str, float]:
    """Distortion of norms over random ω, and coherence of columns over sampled pairs.

    PᵀP e_j holds ⟨p_i, p_j⟩ for all i at once, so that pairs are had without P's matrix.
    """
    draw = torch.Generator().manual_seed(1)
    ratios = []
    for _ in range(DRAWS):
        omega = torch.randn(projector.dim, generator=draw).to(like)
        ratios.append(float(projector(omega).norm() / omega.norm()))
    found = {"norm_mean": float(np.mean(ratios)), "norm_sd": float(np.std(ratios, ddof=1))}
    if projector.dim == 1:
        return {**found, "coherence": math.nan}
    columns = min(projector.dim, math.ceil(PAIRS / (projector.dim - 1)))
    largest = 0.0
    for j in torch.randperm(projector.dim, generator=draw)[:columns].tolist():
        unit = torch.zeros_like(like)
        unit[j] = 1
        products = projector.transpose(projector(unit))
        products[j] = 0
        largest = max(largest, float(products.abs().max()))
    return {**found, "coherence": largest}


def peak(case: Case, projector: Projector, omega: Tensor, theta: Tensor) -> int:
    """Bytes that the projector takes at most while it is applied both ways, beside ω and θ."""
    projector(omega), projector.transpose(theta)  # compiles
    gc.collect()
    if case.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        base = torch.cuda.memory_allocated()
    else:
        release_free_memory()
        reset_peak_memory()
        base = resident_memory()
    both = projector(omega), projector.transpose(theta)
    synchronise(case.device)
    most = torch.cuda.max_memory_allocated() if case.device == "cuda" else peak_memory()
    results = sum(part.nbytes for part in both)
    return projector.nbytes + max(most - base - results, 0)


def synchronise(device: str) -> None:
    """Waits for a GPU, whose calls return before their work is done."""
    if device == "cuda":
        torch.cuda.synchronize()


def read_bandwidth(device: str, threads: int) -> float:
    """Bytes a second at which this device reads memory: the best of ten sums over 1 GB."""
    torch.set_num_threads(threads)
    values = torch.ones(250_000_000, device=device)
    best = math.inf
    for _ in range(10):
        synchronise(device)
        began = time.perf_counter()
        values.sum()
        synchronise(device)
        best = min(best, time.perf_counter() - began)
    return 4 * values.numel() / best
