"""Hashed projections on the CPU, float32, on torch's threads; the map is projectors/hashed.py's.

Row i of block b has column (b·2^k + π_b(i)) mod d. To take no remainder per row, ω is repeated in a
table of 2^k + d numbers: the row reads table[(b·2^k mod d) + π_b(i)]. The adjoint adds into such a
table, whose repetitions are then summed.
"""

import numpy as np
from torch import Tensor

from subspace_bench.common.large_pages import empty_in_large_pages

from .permutations import TILE, index_type, move, permutation_keys, permuted, signs128
from .philox import round_keys
from .simd import aligned, jit
from .threads import in_threads


def project(omega: Tensor, native: int, key: tuple[int, int], bits: int, rest: Tensor) -> Tensor:
    """Pω of each row of an ω that is scaled already, (n, d) → (n, D).

    Arguments:
        bits: k; a block has 2^k rows.
        rest: the permutation of a last block that is not full, int32.
    """
    n, dim = omega.shape
    size = 1 << bits
    # Largest index: (d − 1) + (2^k − 1).
    table = omega.repeat(1, -(-(size + dim) // dim))[:, : size + dim].contiguous()
    theta = empty_in_large_pages(omega, n, native)
    blocks = -(-native // size)
    in_threads(
        _project_blocks, table.numpy(), theta.numpy(), dim, round_keys(key), bits,
        rest.numpy(), index_type(bits), parts=blocks, estimate=0.6 * n * native,
    )  # fmt: skip
    return theta


def adjoint(
    theta: Tensor, dim: int, key: tuple[int, int], bits: int, rest: Tensor, parts: int
) -> Tensor:
    """Pᵀθ of each row before it is scaled, (n, D) → (n, d).

    Arguments:
        parts: the number of partial sums, on which bits depend.
        Others as of `project`.
    """
    n, native = theta.shape
    size = 1 << bits
    blocks = -(-native // size)
    parts = min(parts, blocks)
    # A multiple of d long, so that `sum` can fold the repetitions.
    table = theta.new_zeros(parts, n, -(-(size + dim) // dim) * dim)
    in_threads(
        _adjoint_parts, theta.numpy(), table.numpy(), dim, round_keys(key), bits,
        rest.numpy(), index_type(bits), parts=parts, estimate=1.5 * n * native,
    )  # fmt: skip
    return table.view(parts, n, -1, dim).sum((0, 2))


@jit
def _draw_tile(key, block, i, count, keyed, bits, rest, full, places, signs):
    """Places and signs of rows i … i + TILE − 1 of a block, of which `count` exist."""
    if block < full:
        permuted(keyed, bits, i, places)
    else:
        for j in range(count):
            places[j] = rest[i + j]
    signs128(key, i // 128, block, signs, 0)
    signs128(key, i // 128 + 1, block, signs, 128)


@jit
def _project_blocks(table, theta, dim, key, bits, rest, like, first, last):
    n, native = theta.shape
    size, full = 1 << bits, native >> bits
    keyed, signs, tile = np.empty(12, np.uint32), aligned(TILE), aligned(TILE)
    places = np.zeros(TILE, like.dtype)  # valid where a last tile has no rows: it moves whole
    for block in range(first, last):
        permutation_keys(key, block, keyed)
        start, base = block * size, block * size % dim
        for i in range(0, min(size, native - start), TILE):
            count = min(TILE, native - start - i)
            _draw_tile(key, block, i, count, keyed, bits, rest, full, places, signs)
            for row in range(n):
                source = table[row, base:]
                target = theta[row, start + i : start + i + count]
                move(source, signs, target if count == TILE else tile, 0, places, 0)
                if count < TILE:
                    target[:] = tile[:count]


@jit
def _adjoint_parts(theta, table, dim, key, bits, rest, like, first, last):
    n, native = theta.shape
    size, full, parts = 1 << bits, native >> bits, len(table)
    blocks = (native + size - 1) >> bits
    keyed, signs, places = np.empty(12, np.uint32), aligned(TILE), np.empty(TILE, like.dtype)
    for part in range(first, last):
        for block in range(part * blocks // parts, (part + 1) * blocks // parts):
            permutation_keys(key, block, keyed)
            start, base = block * size, block * size % dim
            for i in range(0, min(size, native - start), TILE):
                count = min(TILE, native - start - i)
                _draw_tile(key, block, i, count, keyed, bits, rest, full, places, signs)
                for row in range(n):
                    sums = table[part, row, base:]
                    values = theta[row, start + i : start + i + count]
                    for j in range(count):
                        sums[places[j]] += signs[j] * values[j]
