"""Fastfood on the CPU, float32: one block of P at a time, in cache, on torch's threads.

θ_b = S_b H G_b Π_b H B_b ω for block b, and Pᵀθ = Σ_b B_b H Π_bᵀ G_b H S_b θ_b. H is unnormalised;
S_b carries all scales. Signs B_b and permutations Π_b are computed at each use; normals G_b and S_b
are stored, unless P is too large (then g and s are empty, and these are computed too).
`starts` has the first row of each block of P and then D; a layer's last block may be cut. Both
products also work with consecutive blocks from number `first` on, to whose rows P is limited: then
`starts`, g and s are of these blocks, and `starts` begins with 0.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numba import types
from numba.extending import intrinsic
from torch import Tensor

from subspace_bench.common.large_pages import empty_in_large_pages

from .hadamard import transform
from .permutations import (
    TILE,
    gather,
    index_type,
    permutation_keys,
    scatter,
    sign_words,
    signs_from,
)
from .philox import normals_into, round_keys
from .pieces import Factors, Pieces, locate, piece_of, read_products, rows_in_one_piece
from .simd import LANES, aligned, fetch, in_vectors, jit, splat, unpack
from .threads import in_threads

# Partial sums of the adjoint: a fixed number, so that bits do not depend on the threads.
_PARTS = 16
_SIGNS = 128 * LANES  # signs that are drawn at a time


def diagonals(key: tuple[int, int], starts: np.ndarray, levels: int, g: Tensor, s: Tensor) -> None:
    """Fills g (blocks · 2^levels,) and s (D,); block b has rows starts[b] … starts[b + 1] − 1."""
    in_threads(
        _fill_blocks, round_keys(key), starts, levels, g.numpy(), s.numpy(),
        parts=len(starts) - 1,
    )  # fmt: skip


def project(
    omega: Tensor, key: tuple[int, int], starts: np.ndarray, levels: int, g: Tensor, s: Tensor,
    native: int, first: int = 0, origin: Tensor | None = None, theta: Tensor | None = None,
    factors: Factors | None = None,
) -> Tensor:  # fmt: skip
    """Pω, or θ₀ + f·Pω, of each row, (rows, d) → (rows, D).

    Arguments:
        native: D, of all blocks.
        first: the number of the first block.
        origin: θ₀, (D,); None means 0.
        theta: where the result goes, (rows, D); None means new memory.
        factors: f of each piece of θ, with an origin; None means 1.
    """
    rows, dim, size = *omega.shape, int(starts[-1])
    # `product` then works on whole vectors.
    padded = torch.nn.functional.pad(omega, (0, -dim % LANES)).view(-1).numpy()
    origin = omega.new_empty(0) if origin is None else origin
    theta = empty_in_large_pages(omega, rows, size) if theta is None else theta
    flat = theta.view(-1).numpy()
    in_threads(
        _project_blocks, padded, rows, dim, round_keys(key), starts, levels,
        g.numpy(), s.numpy(), origin.numpy(), flat, *(factors or Factors.of([size])),
        index_type(levels), native, first,
        parts=len(starts) - 1, estimate=rows * (len(starts) << levels),
    )  # fmt: skip
    return theta


def adjoint(
    theta: Tensor, dim: int, key: tuple[int, int], starts: np.ndarray, levels: int,
    g: Tensor, s: Tensor, native: int, first: int = 0,
) -> Tensor:  # fmt: skip
    """Pᵀθ of each row, (rows, D) → (rows, d)."""
    return _adjoint(rows_in_one_piece(theta), dim, key, starts, levels, g, s, native, first)


def adjoint_of_pieces(
    pieces: Sequence[Tensor], dim: int, key: tuple[int, int], starts: np.ndarray, levels: int,
    g: Tensor, s: Tensor, native: int, first: int = 0, factors: Factors | None = None,
) -> Tensor:  # fmt: skip
    """Pᵀ(f·θ), (1, d), of a θ in contiguous pieces."""
    return _adjoint(locate(pieces, factors), dim, key, starts, levels, g, s, native, first)


def _adjoint(
    pieces: Pieces, dim: int, key: tuple[int, int], starts: np.ndarray, levels: int,
    g: Tensor, s: Tensor, native: int, first: int,
) -> Tensor:  # fmt: skip
    rows, blocks = len(pieces.addresses), len(starts) - 1
    parts = min(_PARTS, blocks)
    width = dim + -dim % LANES
    sums = torch.zeros(parts, rows, width, device="cpu", dtype=torch.float32)
    flat = sums.view(-1).numpy()
    in_threads(
        _adjoint_parts, *pieces, dim, round_keys(key), starts, levels,
        g.numpy(), s.numpy(), flat, parts, index_type(levels), native, first, parts=parts,
        estimate=rows * (len(starts) << levels),
    )  # fmt: skip
    _sum_parts(flat, parts, rows * width)
    return sums[0, :, :dim].contiguous()


@jit
def fill_block(key, block, levels, native, rows, g, s):
    """Fills g[:n] with G_b ~ N(0, 1) and s[:rows] with the row lengths S_b = χ_n/(√(nD)·‖G_b‖).

    χ_n ≈ √n·y^1.5 with one normal y ~ N(1 − c, c), c = 2/(9n) (Wilson and Hilferty 1931). Sums and
    lengths are in float64: n can be 2^17 and more.
    """
    size = 1 << levels
    normals_into(g[:size], key, 0, block, 0)
    normals_into(s[:size], key, 0, block, 3)
    total = 0.0
    for i in range(size):
        total += np.float64(g[i]) * np.float64(g[i])
    c = 2 / (9 * size)
    root, scale = np.sqrt(c), 1 / np.sqrt(total * native)
    for i in range(rows):
        y = 1 - c + root * np.float64(s[i])
        s[i] = np.float32(y * np.sqrt(y) * scale)


@jit
def _fill_blocks(key, starts, levels, g, s, first, last):
    size, native = 1 << levels, starts[-1]
    scales = np.empty(size, np.float32)
    for block in range(first, last):
        begin, end = starts[block], starts[block + 1]
        at = block * size
        fill_block(key, block, levels, native, end - begin, g[at : at + size], scales)
        s[begin:end] = scales[: end - begin]


@jit
def _block_diagonals(key, place, starts, levels, g, s, block_g, block_s, native, offset):
    """G_b and S_b: views of what is stored, else computed into block_g and block_s."""
    begin, end = starts[place], starts[place + 1]
    if len(g):
        return g[place << levels : (place + 1) << levels], s[begin:end]
    fill_block(key, offset + place, levels, native, end - begin, block_g, block_s)
    return block_g, block_s[: end - begin]


@jit
def _buffers(levels, width, stored):
    """Two vectors of a block's size, signs for `width` numbers, and G_b and S_b if not stored."""
    size = 1 << levels
    computed = 0 if stored else size
    signs = aligned(-(-width // _SIGNS) * _SIGNS)
    return aligned(size), aligned(size), signs, aligned(computed), aligned(computed)


@jit
def _draw_signs(key, block, width, words, signs):
    """The first `width` of B_b's signs, and more up to a multiple of _SIGNS."""
    for i in range(0, width, _SIGNS):
        sign_words(key, i // 128, block, words)
        for lane in range(min(LANES, (width - i + 127) // 128)):
            signs_from(words, lane, signs, i + 128 * lane)


@jit
def _project_blocks(
    omega, rows, dim, key, starts, levels, g, s, origin, theta, pieces, factors, like,
    native, offset, first, last,
):  # fmt: skip
    width, size = len(omega) // rows, 1 << levels
    to_read = origin.ctypes.data
    one, two, signs, new_g, new_s = _buffers(levels, width, len(g) > 0)
    keyed, places = np.empty(12, np.uint32), np.empty(TILE, like.dtype)
    words = np.empty(4 * LANES, np.uint32)
    piece = 0
    for place in range(first, last):
        block, begin, end = offset + place, starts[place], starts[place + 1]
        piece = piece_of(pieces, begin, piece)
        permutation_keys(key, block, keyed)
        _draw_signs(key, block, width, words, signs)
        block_g, block_s = _block_diagonals(
            key, place, starts, levels, g, s, new_g, new_s, native, offset
        )
        for row in range(rows):
            # B ω, padded with zeros to n.
            product(omega[row * width : row * width + width], signs, one)
            one[width:] = 0
            transform(one, 0, levels)
            gather(one, block_g, two, keyed, levels, places)
            fetch(to_read, end, 128)  # for the next block, as of the diagonals
            fetch(block_g.ctypes.data, size, 128)
            fetch(block_s.ctypes.data, size, 128)
            transform(two, 0, levels)
            at = row * starts[-1]  # S, into θ: a cut block drops the rest
            out = theta[at + begin : at + end]
            if len(origin):
                displace(two, block_s, pieces, factors, piece, begin, origin[begin:end], out)
            else:
                product(two, block_s, out)


@jit
def _adjoint_parts(
    addresses, pieces, factors, dim, key, starts, levels, g, s, sums, parts, like,
    native, offset, first, last,
):  # fmt: skip
    rows, blocks = len(addresses), len(starts) - 1
    width, size = len(sums) // (parts * rows), 1 << levels
    one, two, signs, new_g, new_s = _buffers(levels, width, len(g) > 0)
    keyed, places = np.empty(12, np.uint32), np.empty(TILE, like.dtype)
    words = np.empty(4 * LANES, np.uint32)
    for part in range(first, last):
        piece = 0
        for place in range(part * blocks // parts, (part + 1) * blocks // parts):
            block, begin, end = offset + place, starts[place], starts[place + 1]
            permutation_keys(key, block, keyed)
            _draw_signs(key, block, width, words, signs)
            block_g, block_s = _block_diagonals(
                key, place, starts, levels, g, s, new_g, new_s, native, offset
            )
            piece = piece_of(pieces, begin, piece)
            for row in range(rows):
                read_products(addresses, pieces, factors, row, begin, piece, block_s, two)
                two[end - begin :] = 0  # rows that a cut block does not have
                transform(two, 0, levels)
                fetch(addresses[row, piece], end - pieces[piece], 128)  # for the next block
                fetch(block_g.ctypes.data, size, 128)
                fetch(block_s.ctypes.data, size, 128)
                scatter(two, block_g, one, keyed, levels, places)
                transform(one, 0, levels)
                at = (part * rows + row) * width
                add_product(one[:width], signs, sums[at : at + width])


@jit
def _sum_parts(sums, parts, size):
    for part in range(1, parts):
        for i in range(size):
            sums[i] += sums[part * size + i]


@jit
def product(a, b, out):
    """out = a·b, as far as the shortest of the three goes."""
    for i in range(min(len(a), len(b), len(out))):
        out[i] = a[i] * b[i]


@jit
def displace(a, b, starts, factors, piece, first, origin, out):
    """out = f·(a·b) + origin, rounding each time; f is of the piece that has `first` + position."""
    done, at = 0, piece
    while done < len(out):
        stop = min(len(out), starts[at + 1] - first)
        displace_piece(a, b, factors[at], origin, out, done, stop)
        done, at = stop, at + 1


@intrinsic
def displace_piece(typing, a, b, factor, origin, out, start, stop):
    """out[j] = factor·(a[j]·b[j]) + origin[j], start ≤ j < stop."""

    def codegen(context, builder, signature, args):
        a, b, factor, origin, out, start, stop = unpack(context, builder, signature, args, 0)

        def displace_lanes(j, lanes):
            product = builder.fmul(a.load(j, lanes=lanes), b.load(j, lanes=lanes))
            product = builder.fmul(splat(builder, factor, lanes), product)
            out.store(builder.fadd(product, origin.load(j, lanes=lanes)), j)

        in_vectors(builder, start, stop, displace_lanes)
        return context.get_dummy_value()

    return types.void(a, b, factor, origin, out, start, stop), codegen


@jit
def add_product(a, b, out):
    """out += a·b, likewise."""
    for i in range(min(len(a), len(b), len(out))):
        out[i] += a[i] * b[i]
