"""Pω and Pᵀθ of a few vectors with a P stored in bfloat16, on CUDA: P is widened in registers.

So P is read once, two bytes an entry; plain PyTorch would write it to memory in float32 and read it
again. P is stored by columns, (d, D). Not timed on a device.
"""

import triton
import triton.language as tl
from torch import Tensor

from . import on_device

_TILE = 1024  # elements of θ in a program of the forward product
_TOGETHER = 4  # columns that it loads at a time
_RUN, _LEAST_RUN = 1024, 256  # rows of four columns in a program of the adjoint: of one θ, of many
_PROGRAMS = 1 << 10  # enough programs to fill a device


def project(columns: Tensor, omega: Tensor) -> Tensor:
    """Pω of each row, (n, d) → (n, D) float32; `columns` (d, D) has bfloat16's bits in int16."""
    (dim, size), count = columns.shape, len(omega)
    tiles = triton.cdiv(size, _TILE)
    # Where tiles of θ are too few to fill the device, columns are split too, into partial sums.
    parts = max(1, min(_PROGRAMS // tiles, dim // 64))
    span = triton.cdiv(dim, parts)
    sums = omega.new_empty(parts, count, size)
    with on_device(omega):
        _forward[(tiles, parts)](
            columns, omega, sums, size, dim, count, span,
            triton.next_power_of_2(count), _TILE, _TOGETHER,
        )  # fmt: skip
    return sums.sum(0)


def adjoint(columns: Tensor, theta: Tensor) -> Tensor:
    """Pᵀθ of each row, (n, D) → (n, d), likewise."""
    (dim, size), count = columns.shape, len(theta)
    most = triton.next_power_of_2(count)
    run = max(_LEAST_RUN, _RUN // most)
    groups, runs = triton.cdiv(dim, 4), triton.cdiv(size, run)
    parts = max(1, min(runs, _PROGRAMS // groups))
    span = triton.cdiv(runs, parts) * run
    sums = theta.new_empty(parts, count, dim)
    with on_device(theta):
        _transpose[(groups, parts)](columns, theta, sums, size, dim, count, span, most, run)
    return sums.sum(0)


@triton.jit
def _forward(
    columns, omega, sums, size, dim, count, span,
    N: tl.constexpr, TILE: tl.constexpr, TOGETHER: tl.constexpr,
):  # fmt: skip
    """sums[part, n, i] = Σ_j P[i, j]·omega[n, j] over a part of the columns, for a tile of rows."""
    i = (tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE))[None, :]
    part, n = tl.program_id(1).to(tl.int64), tl.arange(0, N).to(tl.int64)
    total = tl.zeros((N, TILE), tl.float32)
    end = tl.minimum((part + 1) * span, dim)
    for start in range(part * span, end, TOGETHER):
        for k in tl.static_range(TOGETHER):  # loads that do not wait for each other
            j = start + k
            inside = (i < size) & (j < end)
            entries = _widened(tl.load(columns + j * size + i, mask=inside, other=0))
            weights = tl.load(omega + n * dim + j, mask=(n < count) & (j < end), other=0.0)
            total += weights[:, None] * entries
    at = sums + (part * count + n[:, None]) * size + i
    tl.store(at, total, mask=(n < count)[:, None] & (i < size))


@triton.jit
def _transpose(
    columns, theta, sums, size, dim, count, span, N: tl.constexpr, RUN: tl.constexpr
):  # fmt: skip
    """sums[part, n, j] = Σ_i P[i, j]·theta[n, i] over a part of the rows, for four columns.

    Threads keep sums of their own until the end: to add them up in every run costs more than to
    read the run.
    """
    j, part = tl.program_id(0).to(tl.int64) * 4, tl.program_id(1).to(tl.int64)
    n = tl.arange(0, N)[:, None].to(tl.int64)
    t0 = tl.zeros((N, RUN), tl.float32)
    t1, t2, t3 = t0, t0, t0
    for start in range(part * span, tl.minimum((part + 1) * span, size), RUN):
        i = (start + tl.arange(0, RUN))[None, :]
        inside, at = i < size, columns + j * size + i
        a = tl.load(at, mask=inside, other=0)
        b = tl.load(at + size, mask=inside & (j + 1 < dim), other=0)
        c = tl.load(at + 2 * size, mask=inside & (j + 2 < dim), other=0)
        d = tl.load(at + 3 * size, mask=inside & (j + 3 < dim), other=0)
        inside = (n < count) & inside
        slopes = tl.load(theta + n * size + i, mask=inside, other=0.0)
        t0 += slopes * _widened(a)
        t1 += slopes * _widened(b)
        t2 += slopes * _widened(c)
        t3 += slopes * _widened(d)
    n = tl.arange(0, N).to(tl.int64)
    at = sums + (part * count + n) * dim + j
    tl.store(at, tl.sum(t0, 1), mask=n < count)
    tl.store(at + 1, tl.sum(t1, 1), mask=(n < count) & (j + 1 < dim))
    tl.store(at + 2, tl.sum(t2, 1), mask=(n < count) & (j + 2 < dim))
    tl.store(at + 3, tl.sum(t3, 1), mask=(n < count) & (j + 3 < dim))


@triton.jit
def _widened(bits):
    """float32 from the bits of bfloat16, its upper half."""
    return (bits.to(tl.int32) << 16).to(tl.float32, bitcast=True)
