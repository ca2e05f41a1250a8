"""Products of one vector at a time with a stored P on the CPU, as fast as P can be read.

θ = Σ_j ω_j P_j by tiles of θ; (Pᵀθ)_j = ⟨P_j, θ⟩ by blocks of columns j. P is stored by columns,
(d, D), in float32 or as the bits of bfloat16 in uint16, which a shift by 16 widens to float32.
Both products do one fma per entry, so memory is the limit: what matters is that many columns are
read at once, each in long runs, with prefetches that reach across the ends of runs.
Loops of plain numba take 1.5, 1.8 and 2.0 times as long for Pω in float32 (D = 21,840 and d = 100,
1,000 and 10,000, one thread), and 0.8, 1.0 and 1.1 times for Pᵀθ, with other bits.
"""

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

from subspace_bench.common.large_pages import empty_in_large_pages

from .simd import FLOATS, INTS, LANES, ZERO, fma, index, ints, jit, prefetch, splat, unpack
from .threads import in_threads

_TILE = 2048  # terms of a dot product that are summed before they are added to its total
# Most elements of θ in a tile: 64 KB, which stay in the second-level cache while columns stream by.
# Shorter runs of each column do not read P at full speed: 2,048 took 1.2 to 1.3 times as long.
_ROWS = 1 << 14
# Columns at once. Their sums stay in registers, of which AVX-512 has 32 and AVX2 16 half as wide;
# bits do not depend on the number, as each column has a sum of its own.
_BLOCK = 16 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 8
_FEWER = 8  # columns at once among those left over
_AHEAD = 1024  # entries between the one in use and the one prefetched


def project(columns: Tensor, omega: Tensor) -> Tensor:
    """Pω of each row, (n, d) → (n, D) float32.

    Arguments:
        columns: (d, D) float32, or the bits of bfloat16 in int16.
    """
    size, entries = columns.shape[1], _flat(columns)
    theta = empty_in_large_pages(omega, len(omega), size, zero=True)
    # Each element of θ is summed over columns in order, whatever tile it is in: tiles may depend on
    # the number of threads, and the bits do not.
    threads = torch.get_num_threads()
    tiles = threads * -(-size // (threads * _ROWS))
    tile = -(-size // (tiles * LANES)) * LANES
    for w, t in zip(omega.numpy(), theta.numpy(), strict=True):
        in_threads(
            _project_tiles, entries, w, t, tile,
            parts=-(-size // tile), estimate=0.1 * len(entries),
        )  # fmt: skip
    return theta


def adjoint(columns: Tensor, theta: Tensor) -> Tensor:
    """Pᵀθ of each row, (n, D) → (n, d) float32, for `columns` as in `project`."""
    dim, entries = len(columns), _flat(columns)
    omega = theta.new_empty(len(theta), dim)
    for t, w in zip(theta.numpy(), omega.numpy(), strict=True):
        in_threads(
            _adjoint_blocks, entries, t, w,
            parts=-(-dim // _BLOCK), estimate=0.1 * len(entries),
        )  # fmt: skip
    return omega


def _flat(columns: Tensor) -> np.ndarray:
    """All entries in a row, float32 or uint16."""
    array: np.ndarray = columns.reshape(-1).numpy()
    return array.view(np.uint16) if columns.dtype == torch.int16 else array


@jit
def _project_tiles(P, omega, theta, tile, first, last):
    size, dim = len(theta), len(omega)
    for part in range(first, last):
        begin, end = part * tile, min((part + 1) * tile, size)
        whole = begin + (end - begin) // LANES * LANES
        turn = max(begin, whole - _AHEAD)
        j = 0
        while j + _BLOCK <= dim:
            # In the last _AHEAD elements of a tile, prefetch its beginning in the next columns:
            # what follows in these columns belongs to another tile.
            at, back = j * size, _BLOCK * size + begin - turn
            add_columns(P, at, size, omega, j, theta, begin, turn, _AHEAD, _BLOCK)
            add_columns(P, at, size, omega, j, theta, turn, whole, back, _BLOCK)
            j += _BLOCK
        while j + _FEWER <= dim:
            add_columns(P, j * size, size, omega, j, theta, begin, whole, _AHEAD, _FEWER)
            j += _FEWER
        while j < dim:
            add_columns(P, j * size, size, omega, j, theta, begin, whole, size, 1)
            j += 1
        if whole < end:
            for j in range(dim):
                for i in range(whole, end):
                    theta[i] += omega[j] * entry(P, j * size + i)


@jit
def _adjoint_blocks(P, theta, omega, first, last):
    size, dim = len(theta), len(omega)
    whole = size // LANES * LANES
    sums = np.empty(_BLOCK * LANES, np.float32)
    for part in range(first, last):
        begin, end = part * _BLOCK, min((part + 1) * _BLOCK, dim)
        sums[:] = 0
        if end - begin == _BLOCK:
            for i in range(0, whole, _TILE):
                stop = min(i + _TILE, whole)
                dot_columns(P, begin * size, size, theta, sums, 0, i, stop, _BLOCK)
        else:
            fewer = begin + (end - begin) // _FEWER * _FEWER
            for i in range(0, whole, _TILE):
                stop = min(i + _TILE, whole)
                for j in range(begin, fewer, _FEWER):
                    dot_columns(P, j * size, size, theta, sums, j - begin, i, stop, _FEWER)
                for j in range(fewer, end):
                    dot_columns(P, j * size, size, theta, sums, j - begin, i, stop, 1)
        for j in range(begin, end):
            total = np.float32(0)
            for lane in range(LANES):
                total += sums[(j - begin) * LANES + lane]
            for i in range(whole, size):
                total += theta[i] * entry(P, j * size + i)
            omega[j] = total


def _floats(builder, array, *offsets):
    """16 entries of P as float32. bfloat16 is the upper half of a float32."""
    entries = array.load(*offsets)
    if array.bytes == 4:
        return entries
    wide = builder.shl(builder.zext(entries, INTS), ints(16))
    return builder.bitcast(wide, FLOATS)


@intrinsic(prefer_literal=True)
def entry(typing, P, at):
    """P[at] as float32."""

    def codegen(context, builder, signature, args):
        P, at = unpack(context, builder, signature, args, 0)
        value = P.scalar(at)
        if P.bytes == 4:
            return value
        wide = builder.shl(builder.zext(value, ir.IntType(32)), ir.IntType(32)(16))
        return builder.bitcast(wide, ir.FloatType())

    return types.float32(P, at), codegen


@intrinsic(prefer_literal=True)
def add_columns(typing, P, at, stride, omega, j, theta, first, last, ahead, N):
    """theta[i] += Σ_b omega[j + b] · P[at + b·stride + i], b < N, i = first … last − 1.

    Prefetches the entries `ahead` of those in use.
    """

    def codegen(context, builder, signature, args):
        P, at, stride, omega, j, theta, first, last, ahead, N = unpack(
            context, builder, signature, args, 1
        )
        factors = [splat(builder, omega.scalar(j, b)) for b in range(N)]
        starts = [builder.add(at, builder.mul(index(b), stride)) for b in range(N)]
        with cgutils.for_range_slice(builder, first, last, index(LANES), inc=True) as (i, _):
            total = theta.load(i)
            for factor, start in zip(factors, starts, strict=True):
                prefetch(builder, P.at(start, i, ahead))
                total = fma(builder, _floats(builder, P, start, i), factor, total)
            theta.store(total, i)
        return context.get_dummy_value()

    return types.void(P, at, stride, omega, j, theta, first, last, ahead, N), codegen


@intrinsic(prefer_literal=True)
def dot_columns(typing, P, at, stride, theta, sums, slot, first, last, N):
    """sums[16·(slot + b) + lane] += Σ_i P[at + b·stride + i] · theta[i], b < N."""

    def codegen(context, builder, signature, args):
        P, at, stride, theta, sums, slot, first, last, N = unpack(
            context, builder, signature, args, 1
        )
        totals = [cgutils.alloca_once_value(builder, ZERO) for _ in range(N)]
        starts = [builder.add(at, builder.mul(index(b), stride)) for b in range(N)]
        with cgutils.for_range_slice(builder, first, last, index(LANES), inc=True) as (i, _):
            slope = theta.load(i)
            for total, start in zip(totals, starts, strict=True):
                prefetch(builder, P.at(start, i, _AHEAD))
                entries = _floats(builder, P, start, i)
                builder.store(fma(builder, entries, slope, builder.load(total)), total)
        base = builder.mul(slot, index(LANES))
        for b, total in enumerate(totals):
            old = sums.load(base, b * LANES)
            sums.store(builder.fadd(old, builder.load(total)), base, b * LANES)
        return context.get_dummy_value()

    return types.void(P, at, stride, theta, sums, slot, first, last, N), codegen
