"""Adam on ω, fused with both products of a dense P, which is read once per step and not twice.

γ = Pᵀg;  (m, v, ω) ← Adam(γ);  Pω: as kernels/cpu/projected_adam, on CUDA, for several P at once.
ω_j depends on column j alone. So a program keeps a column in registers from its dot product to its
addition to Pω, whose partial sum is in registers too. A multiprocessor has 256 kB of them, which
limits D to 24,576. Not timed on a device.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import on_device

MOST_ROWS = (1 << 14) + (1 << 13)  # of a column and its sum: 48 of a thread's 64 registers
WARPS = 32
_PROGRAMS = 4  # where no device says how many multiprocessors it has


def step(
    columns: Tensor, gradient: Tensor, omega: Tensor, m: Tensor, v: Tensor, rates: Tensor, *,
    beta1: float, beta2: float, eps: float, warps: int = WARPS,
) -> Tensor:  # fmt: skip
    """One step of Adam on ω, in place; returns Pω, (n, D). All tensors are contiguous float32.

    It only launches, so a CUDA graph can record it; bits are the same each time on one device.

    Arguments:
        columns: (n, d, D), D ≤ MOST_ROWS; row j is column j of a P.
        gradient: (n, D), at θ.
        omega, m, v: (n, d), updated in place; m and v start at zero.
        rates: α/(1 − β₁ᵗ) and √(1 − β₂ᵗ) of step t, (2,), on the device: replays of a graph differ
            in t.
    """
    count, dim, size = columns.shape
    parts = programs(columns, count, dim)
    sums = gradient.new_empty(count, parts, size)
    main, rest = split(size)
    with on_device(columns):
        _step[(parts, count)](
            columns, gradient, omega, m, v, sums, rates, size, dim,
            1 - beta1, beta2, 1 - beta2, eps, main, rest, num_warps=warps,
        )  # fmt: skip
    return sums.sum(1)


def split(size: int) -> tuple[int, int]:
    """Two powers of two that hold a column: Triton's tensors have no other sizes."""
    main = 1 << (size.bit_length() - 1)
    return main, triton.next_power_of_2(max(16, size - main))


def programs(columns: Tensor, count: int, dim: int) -> int:
    """Programs that share the columns of one P: together they fill the device once."""
    processors = _PROGRAMS
    if columns.is_cuda:
        processors = torch.cuda.get_device_properties(columns.device).multi_processor_count
    return max(1, min(dim, processors // count))


@triton.jit(do_not_specialize=["dim"])
def _step(
    columns, gradient, omega, m, v, sums, rates, size, dim, new_m, beta2, new_v, eps,
    MAIN: tl.constexpr, REST: tl.constexpr,
):  # fmt: skip
    """A program's columns are part, part + parts, …; its rows are the first MAIN and the rest."""
    part, parts, net = tl.program_id(0), tl.num_programs(0), tl.program_id(1).to(tl.int64)
    i, k = tl.arange(0, MAIN), MAIN + tl.arange(0, REST)
    slopes = gradient + net * size
    rate, root = tl.load(rates), tl.load(rates + 1)
    total, total_rest = tl.zeros((MAIN,), tl.float32), tl.zeros((REST,), tl.float32)
    for j in range(part, dim, parts):
        at = net * dim + j
        mean, square, weight = tl.load(m + at), tl.load(v + at), tl.load(omega + at)
        column = columns + at * size
        # P is read once, past the first-level cache, which the gradient then stays in.
        entries = tl.load(column + i, cache_modifier=".cg")
        entries_rest = tl.load(column + k, mask=k < size, other=0.0, cache_modifier=".cg")
        gamma = tl.sum(entries * tl.load(slopes + i), 0)
        gamma += tl.sum(entries_rest * tl.load(slopes + k, mask=k < size, other=0.0), 0)
        mean += new_m * (gamma - mean)
        square = square * beta2 + new_v * gamma * gamma
        weight -= rate * mean / (tl.sqrt_rn(square) / root + eps)
        tl.store(m + at, mean)
        tl.store(v + at, square)
        tl.store(omega + at, weight)
        total += weight * entries
        total_rest += weight * entries_rest
    out = sums + (net * parts + part) * size
    tl.store(out + i, total)
    tl.store(out + k, total_rest, mask=k < size)
