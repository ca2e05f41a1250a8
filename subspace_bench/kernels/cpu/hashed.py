"""Hashed projections on the CPU, float32, on torch's threads; the map is projectors/hashed.py's.

Row i of block b has column (b·2^k + π_b(i)) mod d. To take no remainder per row, ω is repeated in a
table of 2^k + d numbers: the row reads table[(b·2^k mod d) + π_b(i)]. The adjoint adds into such a
table, whose repetitions are then summed.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numba import types
from numba.extending import intrinsic
from torch import Tensor

from subspace_bench.common.large_pages import empty_in_large_pages

from .permutations import (
    ROUNDS,
    TILE,
    index_type,
    inverse_keys,
    permutation_keys,
    permuted,
    sign_words,
    signs_from,
    unpermuted,
)
from .philox import round_keys
from .pieces import Factors, Pieces, locate, piece_of, read_products, rows_in_one_piece
from .simd import LANES, aligned, fetch, in_vectors, index, jit, splat, unpack
from .threads import in_threads

_GROUP = 128 * LANES  # rows whose signs are drawn at a time; divides the rows of a block


def project(
    omega: Tensor, native: int, key: tuple[int, int], bits: int, rest: Tensor,
    origin: Tensor | None = None, theta: Tensor | None = None, factors: Factors | None = None,
    blocks: range | None = None,
) -> Tensor:  # fmt: skip
    """f·Pω, or θ₀ + f·Pω, of each row of an ω that is scaled already, (n, d) → (n, D).

    Arguments:
        bits: k; a block has 2^k rows.
        rest: the permutation of a last block that is not full, int32.
        origin: θ₀, (D,); None means 0.
        theta: where the result goes, (n, D); None means new memory.
        factors: f of each piece of θ; None means 1.
        blocks: numbers of consecutive blocks, to whose rows P is limited (then these are D rows);
            None means all.
    """
    n, dim = omega.shape
    size = 1 << bits
    table = np.empty((n, size + dim), np.float32)  # the largest index is (d − 1) + (2^k − 1)
    table[:, :dim] = omega.numpy()
    done = dim
    while done < size + dim:  # doubling is ten times as fast as `Tensor.repeat`
        more = min(done, size + dim - done)
        table[:, done : done + more] = table[:, :more]
        done += more
    blocks = range(-(-native // size)) if blocks is None else blocks
    rows = min(native, blocks.stop * size) - blocks.start * size
    origin = omega.new_empty(0) if origin is None else origin
    theta = empty_in_large_pages(omega, n, rows) if theta is None else theta
    in_threads(
        _project_blocks, table, origin.numpy(), theta.numpy(),
        *(factors or Factors.of([rows])), dim, round_keys(key), bits, rest.numpy(),
        index_type(bits), blocks.start, native >> bits, parts=len(blocks), estimate=0.6 * n * rows,
    )  # fmt: skip
    return theta


def adjoint(
    theta: Tensor, native: int, dim: int, key: tuple[int, int], bits: int, rest: Tensor,
    parts: int, first: int = 0,
) -> Tensor:  # fmt: skip
    """Pᵀθ of each row before it is scaled, (n, D) → (n, d).

    Arguments:
        parts: the number of partial sums, on which bits depend.
        first: the number of the first block, if θ has the rows of some blocks only.
        Others as of `project`.
    """
    return _adjoint(rows_in_one_piece(theta), native, dim, key, bits, rest, parts, first)


def adjoint_of_pieces(
    pieces: Sequence[Tensor], native: int, dim: int, key: tuple[int, int], bits: int, rest: Tensor,
    parts: int, factors: Factors | None = None,
) -> Tensor:  # fmt: skip
    """Pᵀ(f·θ) before it is scaled, (1, d), of a θ in contiguous pieces; otherwise `adjoint`."""
    return _adjoint(locate(pieces, factors), native, dim, key, bits, rest, parts, 0)


def _adjoint(
    pieces: Pieces, native: int, dim: int, key: tuple[int, int], bits: int, rest: Tensor,
    parts: int, offset: int,
) -> Tensor:  # fmt: skip
    n, rows = len(pieces.addresses), int(pieces.starts[-1])
    size = 1 << bits
    blocks = -(-rows // size)
    parts = min(parts, blocks)
    # A multiple of d long, so that `sum` can fold the repetitions.
    table = torch.zeros(parts, n, -(-(size + dim) // dim) * dim, device="cpu", dtype=torch.float32)
    in_threads(
        _adjoint_parts, *pieces, table.numpy(), dim, round_keys(key), bits, rest.numpy(),
        index_type(bits), offset, native >> bits, parts=parts, estimate=0.8 * n * rows,
    )  # fmt: skip
    return table.view(parts, n, -1, dim).sum((0, 2))


@jit
def _buffers(like):
    """Words, places and signs of a group of rows."""
    return np.empty(4 * LANES, np.uint32), np.empty(_GROUP, like.dtype), aligned(_GROUP)


@jit
def _draw_signs(key, block, i, words, signs):
    """The signs of rows i … i + _GROUP − 1 of a block."""
    sign_words(key, i // 128, block, words)
    for lane in range(LANES):
        signs_from(words, lane, signs, 128 * lane)


@jit
def _project_blocks(
    table, origin, theta, starts, factors, dim, key, bits, rest, like, offset, full, first, last
):
    n, native = theta.shape
    size = 1 << bits
    words, places, signs = _buffers(like)
    keyed = np.empty(12, np.uint32)
    to_read = origin.ctypes.data
    piece = 0
    for place in range(first, last):
        block = offset + place
        permutation_keys(key, block, keyed)
        start, base = place * size, block * size % dim
        for i in range(0, min(size, native - start), _GROUP):
            begin = start + i
            count = min(_GROUP, native - begin)
            for j in range(0, _GROUP, TILE):
                if block < full:
                    permuted(keyed, bits, i + j, places[j:])
                fetch(to_read, begin + _GROUP + j, TILE)
            if block == full:
                for j in range(count):
                    places[j] = rest[i + j]
            _draw_signs(key, block, i, words, signs)
            piece = piece_of(starts, begin, piece)
            for row in range(n):
                source, out, done, at = table[row, base:], theta[row], 0, piece
                while done < count:
                    stop, f = min(count, starts[at + 1] - begin), factors[at]
                    if len(origin):
                        gather(source, signs, places, f, origin, out, begin, done, stop, 1)
                    else:
                        gather(source, signs, places, f, origin, out, begin, done, stop, 0)
                    done, at = stop, at + 1


@jit
def _adjoint_parts(
    addresses, starts, factors, table, dim, key, bits, rest, like, offset, full, first, last
):
    n, native = len(addresses), starts[-1]
    size, parts = 1 << bits, len(table)
    blocks = (native + size - 1) >> bits
    words, places, signs = _buffers(like)
    keyed, undoing = np.empty(12, np.uint32), np.empty(2 * ROUNDS, np.uint32)
    values = aligned(n * size)  # ± f·v of a block
    for part in range(first, last):
        piece = 0
        for place in range(part * blocks // parts, (part + 1) * blocks // parts):
            block = offset + place
            start, base = place * size, block * size % dim
            rows = min(size, native - start)
            for i in range(0, rows, _GROUP):
                begin = start + i
                count = min(_GROUP, rows - i)
                _draw_signs(key, block, i, words, signs)
                piece = piece_of(starts, begin, piece)
                for row in range(n):
                    to = values[row * size + i : row * size + i + count]
                    read_products(addresses, starts, factors, row, begin, piece, signs[:count], to)
            # Each column occurs at most once per block and repetition, so looking values up in the
            # order of columns adds the same numbers, in the same order, as adding them row by row.
            if block == full:
                last_places = np.empty(len(rest), like.dtype)
                for j in range(len(rest)):
                    last_places[rest[j]] = j
            else:
                permutation_keys(key, block, keyed)
                inverse_keys(keyed, undoing)
            for i in range(0, rows, _GROUP):
                count = min(_GROUP, rows - i)
                if block == full:
                    places[:count] = last_places[i : i + count]
                else:
                    after = start + size + i - starts[piece]  # for the next block
                    for j in range(0, _GROUP, TILE):
                        unpermuted(undoing, bits, i + j, places[j:])
                        fetch(addresses[0, piece], after + j, TILE)
                for row in range(n):
                    add(values[row * size :], places, table[part, row, base + i :], count)


@intrinsic(prefer_literal=True)
def gather(typing, table, signs, places, factor, origin, out, first, start, stop, DISPLACE):
    """out[first + j] = factor · signs[j] · table[places[j]], start ≤ j < stop.

    Plus origin[first + j] if DISPLACE, with a rounding after each operation.

    One pass, so that the processor fetches memory for one row while it computes another.
    """

    def codegen(context, builder, signature, args):
        table, signs, places, factor, origin, out, first, start, stop, DISPLACE = unpack(
            context, builder, signature, args, 1
        )

        def gather_lanes(j, lanes):
            values = table.look_up(places, j, lanes)
            values = builder.fmul(signs.load(j, lanes=lanes), values)
            values = builder.fmul(splat(builder, factor, lanes), values)
            if DISPLACE:
                values = builder.fadd(values, origin.load(first, j, lanes=lanes))
            out.store(values, first, j)

        in_vectors(builder, start, stop, gather_lanes)
        return context.get_dummy_value()

    kinds = (table, signs, places, factor, origin, out, first, start, stop, DISPLACE)
    return types.void(*kinds), codegen


@intrinsic
def add(typing, values, places, out, count):
    """out[j] += values[places[j]], j < count."""

    def codegen(context, builder, signature, args):
        values, places, out, count = unpack(context, builder, signature, args, 0)

        def add_lanes(j, lanes):
            found = values.look_up(places, j, lanes)
            out.store(builder.fadd(out.load(j, lanes=lanes), found), j)

        in_vectors(builder, index(0), count, add_lanes)
        return context.get_dummy_value()

    return types.void(values, places, out, count), codegen
