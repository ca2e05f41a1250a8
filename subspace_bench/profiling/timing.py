"""What a projector costs on this machine: time, memory, distortion; one cell of `compare`.

The same cases serve `subspace-bench compare` and the asv suite.
"""

from __future__ import annotations

import functools
import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from subspace_bench import models, projectors
from subspace_bench.common.errors import UserError
from subspace_bench.common.hardware import (
    peak_memory,
    release_free_memory,
    reset_peak_memory,
    resident_memory,
)
from subspace_bench.profiling.distortion import quality
from subspace_bench.projectors import Projector
from subspace_bench.projectors.base import Footprint

NETS = {21_840: "conv", 199_210: "fc"}  # D → the model whose layers a projector goes by
# D and d of the projector that compiles what set-up and products need; powers of two need less.
TINY = (3_000, 32)
SET_UPS, CHEAP = 5, 1.0  # set-ups at most, and seconds of them that are enough
READ = 1_000_000  # bytes held, from which they are also merely read, to compare
LONG_ENOUGH = 0.3  # seconds of samples, after which `repeat` of them are enough
TOO_LONG, FEWEST = 10.0, 3  # seconds of samples, after which so few are enough
PART = 1 << 24  # numbers that are brought to float64 together
QUALITY = 20.0  # seconds that distortion and coherence may take
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
    def kind(self) -> torch.dtype:
        found: torch.dtype = getattr(torch, self.dtype)
        return found

    @property
    def footprint(self) -> Footprint:
        """What the projector takes, predicted.

        Raises:
            UserError: where the projector cannot be had, or does not say.
        """
        # On CUDA plain PyTorch does part of what kernels do on a CPU, as it does for float64.
        wide = torch.float64 if self.device == "cuda" else self.kind
        layers = layers_at(self.native)
        return projectors.footprint(self.projector, self.native, self.dim, wide, layers)

    @property
    def needed_bytes(self) -> int:
        """The projector, made and applied, beside two ω and two θ; raises as `footprint`."""
        need = self.footprint
        return (
            need.resident_bytes
            + need.workspace_bytes
            + 2 * self.kind.itemsize * (self.native + self.dim)
        )

    @property
    def label(self) -> str:
        return f"{self.projector} {self.native:,} × {self.dim:,}"

    def make(self) -> Projector:
        """The projector, on its device."""
        layers = layers_at(self.native)
        made = projectors.make(self.projector, self.native, self.dim, seed=0, layers=layers)
        return made.to(self.device)


def itemsize(dtype: str) -> int:
    """Bytes of one number."""
    found: torch.dtype = getattr(torch, dtype)
    return found.itemsize


@functools.cache
def layers_at(native: int) -> list[int] | None:
    """Sizes of the parameters of the model that has D of them; None where there is none."""
    if native not in NETS:
        return None
    return [p.numel() for p in models.build(NETS[native]).parameters()]


@torch.no_grad()
def measure(case: Case, repeat: int, threads: int) -> Iterator[dict[str, Any]]:
    """Makes the projector of a case and measures it, in two parts, each as soon as it is known.

    First bytes held, and at most in a forward and a transpose (beside ω and θ); seconds of set-up,
    the median while it is cheap; milliseconds of forward and transpose, and of a mere read of what
    is held where that is READ bytes or more, median and quartiles. Then what `quality` returns.

    Raises:
        UserError: where the projector cannot be made, or its products are wrong.
    """
    torch.set_num_threads(threads)
    compile_of(case)
    omega, theta = vectors(case)
    found, projector = set_up(case)
    consistent(case, projector, omega, theta)
    found["resident_bytes"] = projector.nbytes
    found["peak_bytes"] = peak(case, projector, omega, theta)
    acts: dict[str, Callable[[], Any]] = {
        "forward": lambda: projector(omega), "transpose": lambda: projector.transpose(theta),
    }  # fmt: skip
    if projector.nbytes >= READ:
        acts["read"] = functools.partial(read, list(projector.buffers()))
    yield found | timed(acts, case.device, repeat)
    yield quality(projector, omega.device, case.kind, QUALITY)


def vectors(case: Case) -> tuple[Tensor, Tensor]:
    """A random ω (d,) and θ (D,), the same on every device."""
    draw = torch.Generator().manual_seed(0)
    return tuple(
        torch.randn(size, generator=draw).to(case.device, case.kind)
        for size in (case.dim, case.native)
    )  # type: ignore[return-value]


def compile_of(case: Case) -> None:
    """Makes and applies a small projector of the class, so that no time holds its compilation."""
    native = min(case.native, TINY[0])
    tiny = replace(case, native=native, dim=min(case.dim, native, TINY[1]))
    omega, theta = vectors(tiny)
    projector = tiny.make()
    projector(omega), projector.transpose(theta)
    synchronise(case.device)


def set_up(case: Case) -> tuple[dict[str, float], Projector]:
    """Seconds that making the projector and bringing it to its device take, and the projector."""
    samples: list[float] = []
    projector: Projector | None = None
    while projector is None or (len(samples) < SET_UPS and sum(samples) < CHEAP):
        projector = None  # its memory is free before the next is made
        began = time.perf_counter()
        projector = case.make()
        synchronise(case.device)
        samples.append(time.perf_counter() - began)
    return {"setup_s": float(np.median(samples))}, projector


def consistent(case: Case, projector: Projector, omega: Tensor, theta: Tensor) -> None:
    """Makes sure that what is to be timed are finite products of one map, ⟨Pω, θ⟩ = ⟨ω, Pᵀθ⟩.

    Of random θ and a wrong Pᵀ, the two differ by about `scale`.

    Raises:
        UserError: where they are not.
    """
    forward, transpose = projector(omega), projector.transpose(theta)
    gap = abs(inner(forward, theta) - inner(omega, transpose))
    scale = math.sqrt(inner(forward, forward) * inner(theta, theta) / case.native)
    if not gap <= (1e-3 + 50 * torch.finfo(case.kind).eps) * scale:
        raise UserError(
            f"projector {case.projector!r} is wrong: ⟨Pω, θ⟩ and ⟨ω, Pᵀθ⟩ are not finite and equal"
        )


def inner(a: Tensor, b: Tensor) -> float:
    """⟨a, b⟩ in float64, a part at a time."""
    parts = zip(torch.split(a, PART), torch.split(b, PART), strict=True)
    return sum(float(one.double() @ other.double()) for one, other in parts)


def timed(acts: dict[str, Callable[[], Any]], device: str, repeat: int) -> dict[str, float]:
    """Milliseconds of one call of each, which was made before: median, quartiles, and their number.

    They are called in turn, as the speed of memory changes within seconds on a shared machine.
    At least `repeat` samples of each, but fewer where they take too long.
    """
    samples: dict[str, list[float]] = {name: [] for name in acts}
    count, seconds = 0, 0.0
    while not enough(count, seconds / len(acts), repeat):
        for name, act in acts.items():
            synchronise(device)
            began = time.perf_counter()
            act()
            synchronise(device)
            samples[name].append(time.perf_counter() - began)
            seconds += samples[name][-1]
        count += 1
    found: dict[str, float] = {}
    for name, each in samples.items():
        low, middle, high = np.percentile(np.array(each) * 1e3, (25, 50, 75))
        found |= {f"{name}_ms": middle, f"{name}_q25": low, f"{name}_q75": high, f"{name}_n": count}
    return found


def read(buffers: Sequence[Tensor]) -> None:
    """Reads all of these tensors, as fast as torch does: sums over their bytes as float32."""
    for buffer in buffers:
        whole = buffer.nbytes // 4 * 4
        buffer.reshape(-1).view(torch.uint8)[:whole].view(torch.float32).sum()


def enough(samples: int, seconds: float, repeat: int) -> bool:
    """Whether a median needs no more samples."""
    if seconds > TOO_LONG:
        return samples >= min(repeat, FEWEST)
    return samples >= repeat and (seconds >= LONG_ENOUGH or samples >= 50 * repeat)


def peak(case: Case, projector: Projector, omega: Tensor, theta: Tensor) -> int:
    """Bytes that the projector takes at most while it is applied both ways, beside ω and θ.

    It was applied before, which compiles.
    """
    release(case.device)
    if case.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        base = torch.cuda.memory_allocated()
    else:
        reset_peak_memory()
        base = resident_memory()
    both = projector(omega), projector.transpose(theta)
    synchronise(case.device)
    most = torch.cuda.max_memory_allocated() if case.device == "cuda" else peak_memory()
    results = sum(part.nbytes for part in both)
    return projector.nbytes + max(most - base - results, 0)


def release(device: str) -> None:
    """Gives back what this process has freed but keeps for reuse."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
    release_free_memory()


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
    del values
    release(device)  # the process that measures cells needs what this one would keep
    return 1e9 / best
