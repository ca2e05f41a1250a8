"""Hashed projections on the CPU, float32, on torch's threads: see projectors/hashed.py.

ω is laid out again and again over a table of a block's length and d more, so that row i of block b
reads table[b·2^k mod d + π_b(i)] and no remainder is taken; the adjoint adds into such a table.
"""

from functools import cache

import numpy as np
from torch import Tensor

from subspace_bench.common.large_pages import empty_in_large_pages

from .draws_simd import TILE, move, permuted, rounds, scratch, signs128
from .philox_simd import round_keys
from .simd import aligned, jit
from .threads import in_threads


def project(omega: Tensor, native: int, key: tuple[int, int], bits: int, rest: Tensor) -> Tensor:
    """Rows of ω, scaled already (n, d) → (n, D)."""
    n, dim = omega.shape
    size = 1 << bits
    table = omega.repeat(1, -(-(size + dim) // dim))[:, : size + dim].contiguous()
    theta = empty_in_large_pages(omega, n, native)
    blocks = -(-native // size)
    in_threads(
        _project(), table.numpy(), theta.numpy(), dim, round_keys(key), bits,
        rest.numpy(), parts=blocks, estimate=0.6 * n * native,
    )  # fmt: skip
    return theta


def adjoint(
    theta: Tensor, dim: int, key: tuple[int, int], bits: int, rest: Tensor, parts: int
) -> Tensor:
    """Rows of θ (n, D) → their sums by column (n, d), not scaled yet."""
    n, native = theta.shape
    size = 1 << bits
    blocks = -(-native // size)
    parts = min(parts, blocks)
    table = theta.new_zeros(parts, n, -(-(size + dim) // dim) * dim)
    in_threads(
        _adjoint(), theta.numpy(), table.numpy(), dim, round_keys(key), bits,
        rest.numpy(), parts=parts, estimate=1.5 * n * native,
    )  # fmt: skip
    return table.view(parts, n, -1, dim).sum((0, 2))


@jit
def places_of(block, i, count, keyed, bits, rest, full, short, long):
    """Fills short or long, as bits ask, with the places of rows i … i + TILE − 1 of a block."""
    if block < full:
        if bits <= 16:
            permuted(keyed, bits, i, short)
        else:
            permuted(keyed, bits, i, long)
        return
    for j in range(count):
        if bits <= 16:
            short[j] = rest[i + j]
        else:
            long[j] = rest[i + j]


@cache
def _project():
    @jit
    def project(table, theta, dim, key, bits, rest, first, last):
        n, native = theta.shape
        size, full = 1 << bits, native >> bits
        keyed, signs, tile = np.empty(12, np.uint32), aligned(TILE), aligned(TILE)
        long, short = scratch()
        long[:] = 0
        short[:] = 0
        for block in range(first, last):
            rounds(key, block, keyed)
            start, base = block * size, block * size % dim
            for i in range(0, min(size, native - start), TILE):
                count = min(TILE, native - start - i)
                places_of(block, i, count, keyed, bits, rest, full, short, long)
                signs128(key, i // 128, block, signs, 0)
                signs128(key, i // 128 + 1, block, signs, 128)
                for row in range(n):
                    source = table[row, base:]
                    target = theta[row, start + i : start + i + count]
                    out = target if count == TILE else tile
                    if bits <= 16:
                        move(source, signs, out, 0, short, 0)
                    else:
                        move(source, signs, out, 0, long, 0)
                    if count < TILE:
                        target[:] = tile[:count]

    return project


@cache
def _adjoint():
    @jit
    def adjoint(theta, table, dim, key, bits, rest, first, last):
        n, native = theta.shape
        size, full, parts = 1 << bits, native >> bits, len(table)
        blocks = (native + size - 1) >> bits
        keyed, signs = np.empty(12, np.uint32), aligned(TILE)
        long, short = scratch()
        for part in range(first, last):
            for block in range(part * blocks // parts, (part + 1) * blocks // parts):
                rounds(key, block, keyed)
                start, base = block * size, block * size % dim
                for i in range(0, min(size, native - start), TILE):
                    count = min(TILE, native - start - i)
                    places_of(block, i, count, keyed, bits, rest, full, short, long)
                    signs128(key, i // 128, block, signs, 0)
                    signs128(key, i // 128 + 1, block, signs, 128)
                    for row in range(n):
                        sums = table[part, row, base:]
                        values = theta[row, start + i : start + i + count]
                        if bits <= 16:
                            for j in range(count):
                                sums[short[j]] += signs[j] * values[j]
                        else:
                            for j in range(count):
                                sums[long[j]] += signs[j] * values[j]

    return adjoint
