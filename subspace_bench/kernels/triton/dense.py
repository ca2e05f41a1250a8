"""Pω and Pᵀθ of a few vectors with a P stored in bfloat16, on CUDA: P is widened in registers.

So P is read once, two bytes an entry; plain PyTorch would write it to memory in float32 and read it
again. P is stored by columns, (d, D). Not timed on a device.
"""

import triton
import triton.language as tl
from torch import Tensor

from . import on_device

_TILE = 1024  # elements of θ in a program of the forward product
_COLUMNS, _RUN = 4, 256  # columns and rows of P that a program of the adjoint holds at a time
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
            columns, omega, sums, size, dim, count, span, triton.next_power_of_2(count), _TILE
        )
    return sums.sum(0)


def adjoint(columns: Tensor, theta: Tensor) -> Tensor:
    """Pᵀθ of each row, (n, D) → (n, d), likewise."""
    (dim, size), count = columns.shape, len(theta)
    groups, runs = triton.cdiv(dim, _COLUMNS), triton.cdiv(size, _RUN)
    parts = max(1, min(runs, _PROGRAMS // groups))
    span = triton.cdiv(runs, parts) * _RUN
    sums = theta.new_empty(parts, count, dim)
    with on_device(theta):
        _transpose[(groups, parts)](
            columns, theta, sums, size, dim, count, span,
            triton.next_power_of_2(count), _COLUMNS, _RUN,
        )  # fmt: skip
    return sums.sum(0)


@triton.jit
def _forward(
    columns, omega, sums, size, dim, count, span, N: tl.constexpr, TILE: tl.constexpr
):  # fmt: skip
    """sums[part, n, i] = Σ_j P[i, j]·omega[n, j] over a part of the columns, for a tile of rows."""
    i = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
    part, n = tl.program_id(1).to(tl.int64), tl.arange(0, N)[:, None].to(tl.int64)
    total = tl.zeros((N, TILE), tl.float32)
    for j in range(part * span, tl.minimum((part + 1) * span, dim)):
        entries = _widened(tl.load(columns + j * size + i, mask=i < size, other=0))
        weights = tl.load(omega + n * dim + j, mask=n < count, other=0.0)
        total += weights * entries[None, :]
    at = sums + (part * count + n) * size + i[None, :]
    tl.store(at, total, mask=(n < count) & (i < size)[None, :])


@triton.jit
def _transpose(
    columns, theta, sums, size, dim, count, span,
    N: tl.constexpr, COLUMNS: tl.constexpr, RUN: tl.constexpr,
):  # fmt: skip
    """sums[part, n, j] = Σ_i P[i, j]·theta[n, i] over a part of the rows, for a few columns."""
    j = tl.program_id(0).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    part, n = tl.program_id(1).to(tl.int64), tl.arange(0, N).to(tl.int64)
    total = tl.zeros((N, COLUMNS), tl.float32)
    for start in range(part * span, tl.minimum((part + 1) * span, size), RUN):
        i = start + tl.arange(0, RUN)
        inside = (j < dim)[:, None] & (i < size)[None, :]
        entries = tl.load(columns + j[:, None] * size + i[None, :], mask=inside, other=0)
        inside = (n < count)[:, None] & (i < size)[None, :]
        slopes = tl.load(theta + n[:, None] * size + i[None, :], mask=inside, other=0.0)
        total += tl.sum(slopes[:, None, :] * _widened(entries)[None, :, :], 2)
    at = sums + (part * count + n[:, None]) * dim + j[None, :]
    tl.store(at, total, mask=(n < count)[:, None] & (j < dim)[None, :])


@triton.jit
def _widened(bits):
    """float32 from the bits of bfloat16, its upper half."""
    return (bits.to(tl.int32) << 16).to(tl.float32, bitcast=True)
