"""Pω and Pᵀθ of `hashed` on CUDA: both are gathers, as the permutation of a block has an inverse.

Row i of a block lies in column (π(i) + the block's first row) mod d, with a sign; see
projectors/hashed.py. A program of the adjoint sums the rows π⁻¹(p) of its columns over some blocks,
so there are no atomic additions, and the bits are the same each time. A kernel before it draws the
signs of all rows, D/8 bytes: a Philox counter has 128 signs, but rows are not read in order.
"""

import torch
import triton
import triton.language as tl

from . import on_device
from .permutations import inverse_keys, permute_index, sign_words, signs, unpermute

_TILE = 4096  # rows of a program of the forward product; fewer where blocks are shorter
_PLACES = 1024  # places of a block that a program of the adjoint holds at a time
_PROGRAMS = 1 << 11  # enough programs to fill a device
_COUNTERS = 512  # of a program that draws signs
_WARPS = 8  # of the forward product
_KEYS = ["k0", "k1"]


def project(
    omega: torch.Tensor, native: int, key: tuple[int, int], bits: int, rest: torch.Tensor
) -> torch.Tensor:
    """The signed entries of ω (n, d) of each row, (n, D), float32.

    Arguments:
        bits: log2 of the rows of a block.
        rest: the permutation of the last block, which may be shorter, int32.
    """
    theta, (count, dim) = omega.new_empty(len(omega), native), omega.shape
    size = 1 << bits
    tile = min(_TILE, size)
    shape = (dim, native, *key, bits, tile)
    with on_device(omega):
        if full := native >> bits:
            grid = ((full << bits) // tile, count)
            _project[grid](omega, theta, rest, *shape, False, num_warps=_WARPS)
        if len(rest):
            grid = (triton.cdiv(len(rest), tile), count)
            _project[grid](omega, theta, rest, *shape, True, num_warps=_WARPS)
    return theta


def adjoint(
    theta: torch.Tensor, dim: int, key: tuple[int, int], bits: int, rest: torch.Tensor
) -> torch.Tensor:
    """The signed sums of θ (n, D) over the rows of each column, (n, d), float32; see `project`."""
    count, native = theta.shape
    columns = min(triton.next_power_of_2(dim), _PLACES)
    tiles, full = triton.cdiv(dim, columns), native >> bits
    parts = max(1, min(full, _PROGRAMS // (tiles * count)))
    span = triton.cdiv(full, parts)
    inverse = torch.empty_like(rest)
    places = torch.arange(len(rest), device=rest.device, dtype=rest.dtype)
    inverse.scatter_(0, rest.long(), places)
    counters = triton.cdiv(native, 128)
    words = torch.empty(4 * counters, device=theta.device, dtype=torch.int32)
    sums = theta.new_zeros(parts + 1, count, dim)
    shape = (dim, native, *key, full, span, bits, columns, _PLACES // columns)
    with on_device(theta):
        grid = (triton.cdiv(counters, _COUNTERS),)
        _sign_words[grid](words, *key, counters, bits - 7, _COUNTERS)
        if full:
            _adjoint[tiles, parts, count](theta, sums, inverse, words, 0, *shape, False)
        if len(rest):
            _adjoint[tiles, 1, count](theta, sums, inverse, words, parts, *shape, True)
    return sums.sum(0)


@triton.jit(do_not_specialize=[*_KEYS, "dim", "native"])
def _project(
    omega, theta, rest, dim, native, k0, k1, BITS: tl.constexpr, TILE: tl.constexpr,
    REST: tl.constexpr,
):  # fmt: skip
    tile, row = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    tiles: tl.constexpr = (1 << BITS) // TILE
    block = native >> BITS if REST else tile // tiles
    begin = (tile if REST else tile % tiles) * TILE
    i = (begin + tl.arange(0, TILE)).to(tl.int32)
    inside = (block << BITS) + i < native
    if REST:
        place = tl.load(rest + i, mask=inside, other=0).to(tl.uint32)
    else:
        place = permute_index(i, k0, k1, block, BITS)
    first = ((block << BITS) % dim).to(tl.uint32)
    column = ((place + first) % tl.cast(dim, tl.uint32)).to(tl.int64)
    value = tl.load(omega + row * dim + column, mask=inside, other=0.0)
    minus = signs(k0, k1, block, begin, TILE)
    value = tl.where(minus != 0, -value, value)
    tl.store(theta + row * native + (block << BITS) + i, value, mask=inside)


@triton.jit(do_not_specialize=_KEYS)
def _sign_words(words, k0, k1, counters, BITS: tl.constexpr, COUNTERS: tl.constexpr):
    """The signs of all rows, a bit each; a block has 2^BITS counters."""
    begin = tl.program_id(0).to(tl.int64) * COUNTERS
    counter = begin + tl.arange(0, COUNTERS)
    drawn = sign_words(k0, k1, counter >> BITS, counter & ((1 << BITS) - 1))
    at = 4 * begin + tl.arange(0, 4 * COUNTERS)
    drawn = tl.reshape(drawn, (4 * COUNTERS,)).to(tl.int32, bitcast=True)
    tl.store(words + at, drawn, mask=at < 4 * counters)


@triton.jit(do_not_specialize=[*_KEYS, "dim", "native", "part", "full", "span"])
def _adjoint(
    theta, sums, inverse, words, part, dim, native, k0, k1, full, span,
    BITS: tl.constexpr, COLUMNS: tl.constexpr, TIMES: tl.constexpr, REST: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(2).to(tl.int64)
    part += tl.program_id(1).to(tl.int64)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    times = tl.arange(0, TIMES)[:, None]
    begin = full if REST else tl.program_id(1) * span
    end = full + 1 if REST else tl.minimum(begin + span, full)
    total = tl.zeros((COLUMNS,), tl.float32)
    for block in range(begin, end):
        start = tl.cast(block, tl.int64) << BITS
        rows = (native - start).to(tl.int32) if REST else 1 << BITS
        first = (start % dim).to(tl.int32)
        place = (column + dim - first) % dim  # of the block's first row in each column
        m0, m1, m2, m3, m4, a0, a1, a2, a3, a4 = inverse_keys(k0, k1, block)
        for time in range(0, tl.cdiv(rows, dim), TIMES):
            p = place[None, :] + (time + times) * dim
            inside = (p < rows) & (column < dim)[None, :]
            if REST:
                i = tl.load(inverse + p, mask=inside, other=0).to(tl.uint32)
            else:
                i = unpermute(p, m0, m1, m2, m3, m4, a0, a1, a2, a3, a4, BITS)
            value = tl.load(theta + row * native + start + i.to(tl.int64), mask=inside, other=0.0)
            word = tl.load(words + (start >> 5) + (i >> 5), mask=inside, other=0)
            minus = (word >> (i & 31).to(tl.int32)) & 1
            total += tl.sum(tl.where(minus != 0, -value, value), 0)
    tl.store(sums + (part * tl.num_programs(2) + row) * dim + column, total, mask=column < dim)
