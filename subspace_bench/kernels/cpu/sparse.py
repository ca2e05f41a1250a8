"""Products with sparse P on the CPU, float32, on torch's threads; formats: projectors/sparse.py.

`gather` and `scatter` go through a list of ±1 entries; `ternary_*` through a packed matrix T of
−1, 0, 1. Scales are left to the caller.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

from subspace_bench.common.large_pages import empty_in_large_pages

from .simd import F32, FLOATS, I32, LANES, ZERO, index, jit, splat, unpack
from .threads import in_threads

_TILE = 2048  # elements of θ (8 KB) that stay in the first-level cache while columns are added
_BLOCK = 8  # columns at once, each with a sum in a register


def gather(
    table: Tensor, starts: Tensor, entries: Tensor, low: int, rows: int, native: int
) -> Tensor:
    """θ_i = Σ_e table[e] over the entries e of row i, for each row of `table` (n, 2d): (n, D).

    Arguments:
        starts: where each block of rows begins in `entries`, and their number.
        low: bits of an entry that hold e = 2·column + sign; the others hold its row in the block.
        rows: rows of a block.
    """
    theta = empty_in_large_pages(table, len(table), native, zero=True)
    in_threads(
        _gather_blocks, table.numpy(), starts.numpy(), entries.numpy(), theta.numpy(), low, rows,
        parts=len(starts) - 1, estimate=1.0 * len(table) * len(entries),
    )  # fmt: skip
    return theta


def scatter(
    theta: Tensor, starts: Tensor, entries: Tensor, low: int, rows: int, size: int, parts: int
) -> Tensor:
    """The adjoint of `gather`: table[e] = Σ θ_i over the rows i that have entry e: (n, size).

    Arguments:
        parts: the number of partial sums, on which bits depend.
    """
    parts = min(parts, len(starts) - 1)
    tables = theta.new_zeros(parts, len(theta), size)
    in_threads(
        _scatter_parts, theta.numpy(), starts.numpy(), entries.numpy(), tables.numpy(), low, rows,
        parts=parts, estimate=1.0 * len(theta) * len(entries),
    )  # fmt: skip
    return tables.sum(0)


def ternary_project(words: Tensor, omega: Tensor, native: int) -> Tensor:
    """T ω of each row of `omega`, (n, d) → (n, D), for T packed by columns (d, ⌈D/16⌉)."""
    # A whole number of vectors of 16: the last may reach past D.
    wide = empty_in_large_pages(omega, len(omega), words.shape[1] * LANES, zero=True)
    in_threads(
        _ternary_project_tiles, words.numpy().reshape(-1), omega.numpy(), wide.numpy(),
        parts=-(-wide.shape[1] // _TILE), estimate=0.1 * words.numel() * len(omega) * LANES,
    )  # fmt: skip
    return wide[:, :native].contiguous()


def ternary_adjoint(words: Tensor, theta: Tensor) -> Tensor:
    """Tᵀθ of each row of `theta`, (n, D) → (n, d)."""
    dim, width = words.shape
    wide = empty_in_large_pages(theta, len(theta), width * LANES)
    wide[:, : theta.shape[1]] = theta
    wide[:, theta.shape[1] :] = 0
    omega = theta.new_empty(len(theta), dim)
    in_threads(
        _ternary_adjoint_blocks, words.numpy().reshape(-1), wide.numpy(), omega.numpy(),
        parts=-(-dim // _BLOCK), estimate=0.1 * words.numel() * len(theta) * LANES,
    )  # fmt: skip
    return omega


@jit
def _gather_blocks(table, starts, entries, theta, low, rows, first, last):
    # Unsigned: a shift brings no sign along, and numba leaves out a test for negative indices,
    # which would cost as much as the addition.
    mask = np.uint32((1 << low) - 1)
    for row in range(len(table)):
        values = table[row]
        for block in range(first, last):
            out = theta[row, block * rows :]
            for k in range(starts[block], starts[block + 1]):
                e = np.uint32(entries[k])
                out[e >> low] += values[e & mask]


@jit
def _scatter_parts(theta, starts, entries, tables, low, rows, first, last):
    mask = np.uint32((1 << low) - 1)
    parts, blocks = len(tables), len(starts) - 1
    for part in range(first, last):
        for row in range(len(theta)):
            sums = tables[part, row]
            for block in range(part * blocks // parts, (part + 1) * blocks // parts):
                values = theta[row, block * rows :]
                for k in range(starts[block], starts[block + 1]):
                    e = np.uint32(entries[k])
                    sums[e & mask] += values[e >> low]


@jit
def _ternary_project_tiles(words, omega, theta, first, last):
    n, dim = omega.shape
    native = theta.shape[1]
    width = native // LANES
    for part in range(first, last):
        begin, end = part * _TILE, min((part + 1) * _TILE, native)
        for row in range(n):
            j = 0
            while j + _BLOCK <= dim:
                add_ternary(words, j * width, width, omega[row], j, theta[row], begin, end, 8)
                j += _BLOCK
            while j < dim:
                add_ternary(words, j * width, width, omega[row], j, theta[row], begin, end, 1)
                j += 1


@jit
def _ternary_adjoint_blocks(words, theta, omega, first, last):
    n, native = theta.shape
    dim, width = omega.shape[1], native // LANES
    sums = np.empty(LANES * _BLOCK, np.float32)
    for part in range(first, last):
        begin, end = part * _BLOCK, min((part + 1) * _BLOCK, dim)
        for row in range(n):
            sums[:] = 0
            if end - begin == _BLOCK:
                for i in range(0, native, _TILE):
                    stop = min(i + _TILE, native)
                    dot_ternary(words, begin * width, width, theta[row], sums, 0, i, stop, 8)
            else:
                for j in range(begin, end):
                    for i in range(0, native, _TILE):
                        stop = min(i + _TILE, native)
                        slot = j - begin
                        dot_ternary(words, j * width, width, theta[row], sums, slot, i, stop, 1)
            for j in range(begin, end):
                total = np.float32(0)
                for lane in range(LANES):
                    total += sums[(j - begin) * LANES + lane]
                omega[row, j] = total


def _signed(builder, word, value):
    """T_ij·value for 16 rows i: 0 where the word's low bit is 0, negated where its high bit is 1.

    A 16-bit integer is a mask of 16 lanes after a bitcast.
    """
    kind = ir.VectorType(ir.IntType(1), LANES)
    nonzero = builder.bitcast(builder.trunc(word, ir.IntType(LANES)), kind)
    negative = builder.trunc(builder.lshr(word, I32(LANES)), ir.IntType(LANES))
    # −0 − value is −value for every value; 0 − value would not be −0 for 0.
    minus = builder.fsub(ir.Constant(FLOATS, [ir.Constant(F32, -0.0)] * LANES), value)
    signed = builder.select(builder.bitcast(negative, kind), minus, value)
    return builder.select(nonzero, signed, ZERO)


@intrinsic(prefer_literal=True)
def add_ternary(typing, words, at, width, omega, j, theta, first, last, N):
    """theta[i] += Σ_b omega[j + b] · T[j + b, i], b < N, i = first … last − 1, 16 at a time."""

    def codegen(context, builder, signature, args):
        words, at, width, omega, j, theta, first, last, N = unpack(
            context, builder, signature, args, 1
        )
        factors = [splat(builder, omega.scalar(j, b)) for b in range(N)]
        starts = [builder.add(at, builder.mul(index(b), width)) for b in range(N)]
        with cgutils.for_range_slice(builder, first, last, index(LANES), inc=True) as (i, _):
            total, place = theta.load(i), builder.udiv(i, index(LANES))
            for factor, start in zip(factors, starts, strict=True):
                total = builder.fadd(total, _signed(builder, words.scalar(start, place), factor))
            theta.store(total, i)
        return context.get_dummy_value()

    return types.void(words, at, width, omega, j, theta, first, last, N), codegen


@intrinsic(prefer_literal=True)
def dot_ternary(typing, words, at, width, theta, sums, slot, first, last, N):
    """sums[16·(slot + b) + lane] += Σ_i T[j + b, i] · theta[i], b < N."""

    def codegen(context, builder, signature, args):
        words, at, width, theta, sums, slot, first, last, N = unpack(
            context, builder, signature, args, 1
        )
        totals = [cgutils.alloca_once_value(builder, ZERO) for _ in range(N)]
        starts = [builder.add(at, builder.mul(index(b), width)) for b in range(N)]
        with cgutils.for_range_slice(builder, first, last, index(LANES), inc=True) as (i, _):
            value, place = theta.load(i), builder.udiv(i, index(LANES))
            for total, start in zip(totals, starts, strict=True):
                signed = _signed(builder, words.scalar(start, place), value)
                builder.store(builder.fadd(builder.load(total), signed), total)
        base = builder.mul(slot, index(LANES))
        for b, total in enumerate(totals):
            old = sums.load(base, b * LANES)
            sums.store(builder.fadd(old, builder.load(total)), base, b * LANES)
        return context.get_dummy_value()

    return types.void(words, at, width, theta, sums, slot, first, last, N), codegen
