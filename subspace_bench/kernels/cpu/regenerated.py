"""Pω and Pᵀθ with a P that is never stored: its entries are computed in registers and used there.

Forward: for each block of rows, θ_i += ω_j·P_ij over all columns j. Transpose: for each group of 64
columns, γ_j += P_ij·θ_i over blocks of rows, lane by lane. Arithmetic is the limit, so up to four
vectors share the entries once these are computed. How an entry follows from (seed, i, j) stands in
projectors/regenerated.py; the scale 1/√D is left to the caller.
"""

from contextlib import contextmanager
from functools import cache

import numpy as np
import torch
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

from .philox import BLOCK, load_keys, normals, normals_into, round_keys, words, words_into
from .simd import FLOATS, INTS, LANES, ZERO, fma, index, ints, jit, splat, unpack
from .threads import in_threads

SIGNS_BLOCK = 32 * LANES  # rows whose signs are the 32 bits of one word in each of 16 lanes
SIGNS_COLUMNS = 4  # the four words of a counter are the signs of four columns
NORMALS, SIGNS = 0, 1  # kinds; also word 2 of the counter, so that they draw different numbers
TOGETHER = 4  # the most vectors that share computed entries: their sums fill the registers
_GROUP = 64  # columns of a transpose, whose sums (4 KB a vector) stay in the first-level cache
_PARTS = 16  # partial sums of a transpose: a fixed number, so that bits do not depend on threads


def project(omega: Tensor, theta: Tensor, key: tuple[int, int], kind: int, start: int = 0) -> None:
    """theta[n] = P·omega[n] for (n, d) and (n, D), float32 on the CPU, contiguous, n ≤ 4.

    Arguments:
        start: θ's first row of P, if θ has some rows only; a multiple of 512.
    """
    keys, rows = round_keys(key), _block(kind)
    width = -(-omega.shape[1] // SIGNS_COLUMNS) * SIGNS_COLUMNS
    padded = torch.nn.functional.pad(omega, (0, width - omega.shape[1]))
    size = theta.shape[1]
    for n, count in _splits(len(omega)):
        w, t = (a[n : n + count].reshape(-1).numpy() for a in (padded, theta))
        kernel = _kernels(kind, count)[0]
        in_threads(kernel, w, t, width, size, keys, start // rows, parts=-(-size // rows))


def adjoint(theta: Tensor, gamma: Tensor, key: tuple[int, int], kind: int, start: int = 0) -> None:
    """gamma[n] = Pᵀ·theta[n] for (n, D) and (n, d), likewise."""
    keys, blocks = round_keys(key), -(-theta.shape[1] // _block(kind))
    parts = min(_PARTS, blocks)
    size, dim = theta.shape[1], gamma.shape[1]
    for n, count in _splits(len(theta)):
        partial = theta.new_empty(parts, count, dim)
        t = theta[n : n + count].view(-1).numpy()
        kernel = _kernels(kind, count)[1]
        in_threads(
            kernel, t, partial.view(-1).numpy(), dim, size, keys, start // _block(kind), parts,
            parts=parts,
        )  # fmt: skip
        total = gamma[n : n + count].copy_(partial[0])
        for part in partial[1:]:
            total += part


def fill(columns: Tensor, key: tuple[int, int], kind: int, row: int, column: int) -> None:
    """columns[c, r] = √D·P[row + r, column + c]: (c, r) float32 on the CPU.

    Arguments:
        row: a multiple of a block (64 rows for normals, 512 for signs).
        column: a multiple of 4.
    """
    parts = -(-len(columns) // SIGNS_COLUMNS)
    in_threads(_filler(kind), columns.numpy(), round_keys(key), row, column, parts=parts)


def _block(kind: int) -> int:
    return SIGNS_BLOCK if kind == SIGNS else BLOCK


def _splits(count: int) -> list[tuple[int, int]]:
    """(start, length) of groups of 4, 2 and 1 vectors, for which kernels are compiled."""
    groups, n = [], 0
    while n < count:
        length = min(TOGETHER, 1 << ((count - n).bit_length() - 1))
        groups.append((n, length))
        n += length
    return groups


@cache
def _kernels(KIND: int, N: int):
    """(forward, transpose) for N vectors."""
    ROWS = SIGNS_BLOCK if KIND == SIGNS else BLOCK
    COLUMNS = SIGNS_COLUMNS if KIND == SIGNS else 1

    @jit
    def forward(omega, theta, dim, size, keys, offset, first, last):
        rest = np.empty(N * ROWS, np.float32)
        for block in range(first, last):
            at = block * ROWS
            # A last block that θ cuts is computed whole, in `rest`.
            whole = at + ROWS <= size
            out, t0, stride = (theta, at, size) if whole else (rest, 0, ROWS)
            for n in range(N):
                out[t0 + n * stride : t0 + n * stride + ROWS] = 0
            groups = (dim + COLUMNS - 1) // COLUMNS
            c0 = (offset + block) * LANES
            add(out, t0, stride, omega, 0, dim, groups, keys, c0, 0, KIND, N)
            if not whole:
                for n in range(N):
                    start = n * size + at
                    theta[start : (n + 1) * size] = rest[n * ROWS : n * ROWS + size - at]

    @jit
    def transpose(theta, partial, dim, size, keys, offset, parts, first, last):
        rest = np.zeros(N * ROWS, np.float32)
        sums = np.empty(N * _GROUP * LANES, np.float32)
        blocks = (size + ROWS - 1) // ROWS
        # The rows of a last block that θ cuts, padded with zeros; only the last part needs them.
        if size % ROWS and last == parts:
            for n in range(N):
                tail = theta[n * size + (blocks - 1) * ROWS : (n + 1) * size]
                rest[n * ROWS : n * ROWS + len(tail)] = tail
        for part in range(first, last):
            for j in range(0, dim, _GROUP):
                count = min(dim - j, _GROUP)
                groups = (count + COLUMNS - 1) // COLUMNS
                sums[:] = 0
                for block in range(part * blocks // parts, (part + 1) * blocks // parts):
                    whole = (block + 1) * ROWS <= size
                    source, t0, stride = (theta, block * ROWS, size) if whole else (rest, 0, ROWS)
                    c0 = (offset + block) * LANES
                    dot(source, t0, stride, sums, groups, keys, c0, j // COLUMNS, KIND, N)
                for n in range(N):
                    for c in range(count):
                        total = np.float32(0)
                        for lane in range(LANES):
                            total += sums[(n * _GROUP + c) * LANES + lane]
                        partial[(part * N + n) * dim + j + c] = total

    return forward, transpose


@intrinsic(prefer_literal=True)
def add(typing, theta, t0, t_stride, omega, w0, w_stride, groups, keys, c0, c1, KIND, N):
    """theta[t0 + n·t_stride + i] += Σ_j P[i, j] · omega[w0 + n·w_stride + j], n < N.

    i runs over a block of rows, whose 16 lanes have counters c0 … c0 + 15; j over `groups` counters
    of columns from c1 on, one column each for normals, four for signs.
    """

    def codegen(context, builder, signature, args):
        theta, t0, t_stride, omega, w0, w_stride, groups, keys, c0, c1, KIND, N = unpack(
            context, builder, signature, args, 2
        )
        keys = load_keys(builder, keys)
        starts = [builder.add(t0, builder.mul(index(n), t_stride)) for n in range(N)]
        weights = [builder.add(w0, builder.mul(index(n), w_stride)) for n in range(N)]
        if KIND == SIGNS:
            # 32 sums of 16 rows each do not fit the registers: θ is loaded and stored for each bit,
            # from the first-level cache, once for the four columns of a counter.
            with _columns(builder, groups, keys, c0, c1, KIND) as (group, drawn):
                j = builder.mul(group, index(SIGNS_COLUMNS))
                for start, weight in zip(starts, weights, strict=True):
                    factors = [splat(builder, omega.scalar(weight, j, c)) for c in range(4)]
                    with _by_bits(builder, drawn) as (i, rows):
                        at = builder.add(start, i)
                        for r, masks in enumerate(rows):
                            total = theta.load(at, r * LANES)
                            for factor, mask in zip(factors, masks, strict=True):
                                total = builder.fadd(total, _signed(builder, factor, mask))
                            theta.store(total, at, r * LANES)
            return context.get_dummy_value()
        # Four sums a vector (a block is 4 × 16 rows) stay in registers over all columns.
        sums = [
            cgutils.alloca_once_value(builder, theta.load(start, k * LANES))
            for start in starts
            for k in range(4)
        ]
        with _columns(builder, groups, keys, c0, c1, KIND) as (group, drawn):
            numbers = normals(builder, drawn)
            for n, weight in enumerate(weights):
                factor = splat(builder, omega.scalar(weight, group))
                for k, number in enumerate(numbers):
                    total = sums[4 * n + k]
                    builder.store(fma(builder, number, factor, builder.load(total)), total)
        for n, start in enumerate(starts):
            for k in range(4):
                theta.store(builder.load(sums[4 * n + k]), start, k * LANES)
        return context.get_dummy_value()

    signature = types.void(theta, t0, t_stride, omega, w0, w_stride, groups, keys, c0, c1, KIND, N)
    return signature, codegen


@intrinsic(prefer_literal=True)
def dot(typing, theta, t0, t_stride, sums, groups, keys, c0, c1, KIND, N):
    """sums[(n·64 + j)·16 + lane] += Σ_i P[i, j] · theta[t0 + n·t_stride + i], i ≡ lane mod 16."""

    def codegen(context, builder, signature, args):
        theta, t0, t_stride, sums, groups, keys, c0, c1, KIND, N = unpack(
            context, builder, signature, args, 2
        )
        keys = load_keys(builder, keys)
        starts = [builder.add(t0, builder.mul(index(n), t_stride)) for n in range(N)]
        columns = SIGNS_COLUMNS if KIND == SIGNS else 1
        with _columns(builder, groups, keys, c0, c1, KIND) as (group, drawn):
            numbers = [] if KIND == SIGNS else normals(builder, drawn)
            at = builder.mul(group, index(columns * LANES))
            for n, start in enumerate(starts):
                if KIND == SIGNS:
                    places = [cgutils.alloca_once_value(builder, ZERO) for _ in range(columns)]
                    with _by_bits(builder, drawn) as (i, rows):
                        for r, masks in enumerate(rows):
                            factor = theta.load(builder.add(start, i), r * LANES)
                            for place, mask in zip(places, masks, strict=True):
                                signed = _signed(builder, factor, mask)
                                builder.store(builder.fadd(builder.load(place), signed), place)
                    totals = [builder.load(place) for place in places]
                else:
                    products = ZERO
                    for k, number in enumerate(numbers):
                        products = fma(builder, number, theta.load(start, k * LANES), products)
                    totals = [products]
                for c, total in enumerate(totals):
                    offset = (n * _GROUP + c) * LANES
                    sums.store(builder.fadd(sums.load(at, offset), total), at, offset)
        return context.get_dummy_value()

    return types.void(theta, t0, t_stride, sums, groups, keys, c0, c1, KIND, N), codegen


@contextmanager
def _columns(builder, groups, keys, c0, c1, kind):
    """A loop over counters of columns, which yields (number of the counter, its words).

    Each turn computes the next counter's words before it uses the present ones. The two do not
    depend on each other, so a processor overlaps them.
    """
    first = words(builder, keys, c0, c1, index(kind))
    ahead = [cgutils.alloca_once_value(builder, word) for word in first]
    with cgutils.for_range(builder, groups) as group:
        now = [builder.load(word) for word in ahead]
        counter = builder.add(builder.add(c1, group.index), index(1))
        coming = words(builder, keys, c0, counter, index(kind))
        for place, word in zip(ahead, coming, strict=True):
            builder.store(word, place)
        yield group.index, now


@contextmanager
def _by_bits(builder, drawn):
    """A loop over the 32 bits of words from the highest, four bits a turn.

    Yields (16 × number of the first bit, and for each of the four bits the words shifted so that it
    is their sign bit). With all 32 bits unrolled, the compiler would compute all shifted words
    first, and spill them to memory.
    """
    places = [cgutils.alloca_once_value(builder, word) for word in drawn]
    steps = cgutils.for_range_slice(
        builder, index(0), index(SIGNS_BLOCK), index(4 * LANES), inc=True
    )
    with steps as (i, _):
        now = [builder.load(place) for place in places]
        yield i, [[builder.shl(word, ints(r)) for word in now] for r in range(4)]
        for place, word in zip(places, now, strict=True):
            builder.store(builder.shl(word, ints(4)), place)


def _signed(builder, factor, mask):
    """`factor` with the sign bit of `mask` flipped in: an xor where a multiplication would do."""
    sign = builder.and_(mask, ints(0x80000000))
    return builder.bitcast(builder.xor(builder.bitcast(factor, INTS), sign), FLOATS)


@cache
def _filler(KIND: int):
    """kernel(columns, keys, row, column, first, last) fills groups of four rows of `columns`."""

    @jit
    def kernel(columns, keys, row, column, first, last):
        count, size = columns.shape
        if KIND == NORMALS:
            for c in range(4 * first, min(4 * last, count)):
                normals_into(columns[c], keys, row // 4, column + c, KIND)
            return
        drawn = np.empty(BLOCK, np.uint32)
        for group in range(first, last):
            for r in range(0, size, SIGNS_BLOCK):
                words_into(drawn, keys, (row + r) // 32, column // 4 + group, KIND)
                for c in range(min(4, count - 4 * group)):
                    for i in range(min(SIGNS_BLOCK, size - r)):
                        bit = drawn[LANES * c + i % LANES] >> np.uint32(31 - i // LANES)
                        sign = np.float32(1 - 2 * np.int32(bit & np.uint32(1)))
                        columns[4 * group + c, r + i] = sign

    return kernel
