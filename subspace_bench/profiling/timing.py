"""Measures one case: seconds of set-up, milliseconds of Pω and Pᵀθ, peak memory.

`subspace-bench compare` and the asv suite share these functions. The cost of P is compared with
the time to read P's bytes once, a lower bound for any stored P.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from subspace_bench.common.errors import UserError, is_out_of_memory
from subspace_bench.common.hardware import (
    peak_memory,
    release_free_memory,
    reset_peak_memory,
    resident_memory,
)
from subspace_bench.profiling.cases import TimingCase
from subspace_bench.profiling.distortion import measure_distortion
from subspace_bench.profiling.stopwatch import Stopwatch, quartiles, synchronize
from subspace_bench.projectors import Projector

# D and d at which kernels are compiled; not powers of two, which need fewer of them.
WARM_UP_SIZE = (3_000, 32)
SET_UP_SAMPLES, SET_UP_SECONDS = 5, 1.0  # stops at whichever comes first
READ_FROM_BYTES = 1_000_000  # smaller projectors are not read for comparison
LONG_ENOUGH = {"cpu": 0.3, "cuda": 0.03}  # seconds after which `repeat` samples suffice
TOO_LONG, FEWEST_SAMPLES = 10.0, 3  # seconds after which FEWEST_SAMPLES suffice
LONG_CALL = 0.05  # seconds from which on launching is not measured apart
CHUNK = 1 << 24  # numbers converted to float64 at a time
DISTORTION_SECONDS = {"cpu": 20.0, "cuda": 2.0}  # a GPU draws as many samples in less


@torch.no_grad()
def measure(case: TimingCase, repeat: int, threads: int) -> Iterator[dict[str, Any]]:
    """Makes the projector of a case and measures it; yields two parts as they become available.

    First `resident_bytes` and `peak_bytes` (as `measure_peak_bytes`), `setup_s` (median seconds),
    and milliseconds of "forward", "transpose" and, if P has READ_FROM_BYTES or more, "read"
    (as `sample_times`, on CUDA also as `sample_launches`). Then the values of
    `measure_distortion`.

    Arguments:
        repeat: minimum number of samples of each time.
        threads: CPU threads of torch.

    Raises:
        UserError: if the projector cannot be made, or Pω and Pᵀθ are not adjoint.
    """
    torch.set_num_threads(threads)
    warm_up(case)
    omega, theta = random_vectors(case)
    seconds, projector = measure_set_up(case)
    require_adjoint(case, projector, omega, theta)
    calls: dict[str, Callable[[], Any]] = {
        "forward": lambda: projector(omega),
        "transpose": lambda: projector.transpose(theta),
    }
    if projector.nbytes >= READ_FROM_BYTES:
        calls["read"] = functools.partial(read_buffers, list(projector.buffers()))
    yield {
        "setup_s": seconds,
        "resident_bytes": projector.nbytes,
        "peak_bytes": measure_peak_bytes(case, projector, omega, theta),
        **sample_times(calls, case.device, repeat),
        **(sample_launches(calls, repeat) if case.device == "cuda" else {}),
    }
    budget = DISTORTION_SECONDS[case.device]
    yield measure_distortion(projector, omega.device, case.torch_dtype, budget)


def random_vectors(case: TimingCase) -> tuple[Tensor, Tensor]:
    """Gaussian ω (d,) and θ (D,), the same on every device."""
    draw = torch.Generator().manual_seed(0)
    omega, theta = (
        torch.randn(size, generator=draw).to(case.device, case.torch_dtype)
        for size in (case.dim, case.native)
    )
    return omega, theta


def warm_up(case: TimingCase) -> None:
    """Makes and applies a small projector of the class, so that no sample includes compilation."""
    native = min(case.native, WARM_UP_SIZE[0])
    small = replace(case, native=native, dim=min(case.dim, native, WARM_UP_SIZE[1]))
    omega, theta = random_vectors(small)
    projector = small.make()
    projector(omega), projector.transpose(theta)
    synchronize(case.device)


def measure_set_up(case: TimingCase) -> tuple[float, Projector]:
    """Median seconds to make the projector and move it to its device, and the projector."""
    samples: list[float] = []
    projector: Projector | None = None
    while projector is None or (len(samples) < SET_UP_SAMPLES and sum(samples) < SET_UP_SECONDS):
        projector = None  # frees its memory before the next one is made
        start = time.perf_counter()
        projector = case.make()
        synchronize(case.device)
        samples.append(time.perf_counter() - start)
    return float(np.median(samples)), projector


def require_adjoint(case: TimingCase, projector: Projector, omega: Tensor, theta: Tensor) -> None:
    """Checks ⟨Pω, θ⟩ = ⟨ω, Pᵀθ⟩ up to rounding, so that only correct products are timed.

    For random θ and a wrong Pᵀ the two sides differ by about ‖Pω‖‖θ‖/√D.

    Raises:
        UserError: if they differ, or are not finite.
    """
    forward, transpose = projector(omega), projector.transpose(theta)
    gap = abs(inner_product(forward, theta) - inner_product(omega, transpose))
    squares = inner_product(forward, forward) * inner_product(theta, theta)
    scale = math.sqrt(squares / case.native)
    if not gap <= (1e-3 + 50 * torch.finfo(case.torch_dtype).eps) * scale:
        raise UserError(
            f"projector {case.projector!r} is wrong: ⟨Pω, θ⟩ and ⟨ω, Pᵀθ⟩ are not finite and equal"
        )


def inner_product(a: Tensor, b: Tensor) -> float:
    """⟨a, b⟩ summed in float64, chunk by chunk."""
    pairs = zip(torch.split(a, CHUNK), torch.split(b, CHUNK), strict=True)
    return sum(float(x.double() @ y.double()) for x, y in pairs)


def sample_times(calls: dict[str, Callable[[], Any]], device: str, repeat: int) -> dict[str, float]:
    """Median milliseconds of each call, quartiles and sample count: `_ms`, `_q25`, `_q75`, `_n`.

    The calls alternate because the memory speed of a shared machine changes within seconds.
    """
    stopwatch = Stopwatch(device)
    samples: dict[str, list[float]] = {name: [] for name in calls}
    count, seconds = 0, 0.0
    while not has_enough_samples(count, seconds / len(calls), repeat, LONG_ENOUGH[device]):
        for name, call in calls.items():
            samples[name].append(stopwatch.device_seconds(call))
            seconds += samples[name][-1]
        count += 1
    times: dict[str, float] = {}
    for name, values in samples.items():
        times |= quartiles(name, values)
    return times


def sample_launches(calls: dict[str, Callable[[], Any]], repeat: int) -> dict[str, float]:
    """On CUDA: milliseconds of one call including its launches, `_host_ms`, and of a call within a
    graph, `_graph_ms`; the latter is missing if the call is too long or cannot be recorded."""
    stopwatch = Stopwatch("cuda", cold=False)
    times: dict[str, float] = {}
    for name, call in calls.items():
        host = [stopwatch.host_seconds(call)]
        host += [stopwatch.host_seconds(call) for _ in range(repeat if host[0] <= LONG_CALL else 0)]
        times[f"{name}_host_ms"] = float(np.median(host)) * 1e3
        if host[0] > LONG_CALL:
            continue
        with contextlib.suppress(RuntimeError):
            graph = stopwatch.graph_seconds(call, repeat)
            times[f"{name}_graph_ms"] = float(np.median(graph)) * 1e3
    return times


def has_enough_samples(count: int, seconds: float, repeat: int, long_enough: float) -> bool:
    """Whether `count` samples that took `seconds` in all suffice for a median."""
    if seconds > TOO_LONG:
        return count >= min(repeat, FEWEST_SAMPLES)
    return count >= repeat and (seconds >= long_enough or count >= 50 * repeat)


def read_buffers(buffers: Sequence[Tensor]) -> None:
    """Reads tensors as fast as torch can: sums their bytes as float32."""
    for buffer in buffers:
        whole = buffer.nbytes // 4 * 4
        buffer.reshape(-1).view(torch.uint8)[:whole].view(torch.float32).sum()


def measure_peak_bytes(case: TimingCase, projector: Projector, omega: Tensor, theta: Tensor) -> int:
    """P's bytes plus the peak memory of Pω and Pᵀθ besides P, ω and θ.

    On a CPU this is the peak of the process, so the allocator's slack dominates below about 2 MB.
    Apply the projector once before: compilation would count.
    """
    release_memory(case.device)
    if case.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        base = torch.cuda.memory_allocated()
    else:
        reset_peak_memory()
        base = resident_memory()
    products = projector(omega), projector.transpose(theta)
    synchronize(case.device)
    peak = torch.cuda.max_memory_allocated() if case.device == "cuda" else peak_memory()
    return projector.nbytes + max(peak - base - sum(part.nbytes for part in products), 0)


def release_memory(device: str) -> None:
    """Returns memory that this process has freed but keeps for reuse."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
    release_free_memory()


def read_bandwidth(device: str, threads: int) -> float:
    """Bytes per second at which the device reads memory: the best of ten sums over 1 GB."""
    torch.set_num_threads(threads)
    values, stopwatch = allocate_ones(250_000_000, device), Stopwatch(device, cold=False)
    best = min(stopwatch.device_seconds(values.sum) for _ in range(10))
    speed = values.nbytes / best
    del values
    release_memory(device)  # the measuring process needs it
    return speed


def allocate_ones(count: int, device: str) -> Tensor:
    """A float32 vector of this many ones, or of half as many where memory lacks, and so on."""
    try:
        return torch.ones(count, device=device)
    except (RuntimeError, MemoryError) as failure:
        if not is_out_of_memory(failure) or count < 1_000_000:
            raise
    return allocate_ones(count // 2, device)
