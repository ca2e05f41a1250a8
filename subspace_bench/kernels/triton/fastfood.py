"""Fastfood's signs B and permutation Π on CUDA, in registers; see projectors/permutations.py.

One launch each, where plain PyTorch takes some 300 small ones for the same numbers.
"""

import torch
import triton
import triton.language as tl

from . import on_device

_TILE = 1024  # elements that a program holds; fewer where blocks are shorter
# Triton compiles a kernel anew for special values of integers (1, multiples of 16), unless told not
# to: these vary from seed to seed.
_DRAWN = ["k0", "k1", "first", "blocks"]


def multiply_signs_(x: torch.Tensor, key: tuple[int, int], first: int) -> None:
    """x (rows, blocks, n) ← B x in place, for blocks `first`, `first` + 1, …"""
    _, blocks, size = x.shape
    tile = min(_TILE, size)
    with on_device(x):
        _multiply_signs[(x.numel() // tile,)](x, *key, first, blocks, size // tile, tile)


def permute(
    x: torch.Tensor, factors: torch.Tensor, key: tuple[int, int], first: int, scatter: bool
) -> torch.Tensor:
    """G Π x of each row and block, y[i] = factors[i]·x[π(i)]; with `scatter`, its adjoint
    y[π(i)] = factors[i]·x[i].

    Arguments:
        x: (rows, blocks, n), float32, contiguous.
        factors: (blocks, n), likewise.
    """
    _, blocks, size = x.shape
    tile, out = min(_TILE, size), torch.empty_like(x)
    with on_device(x):
        _permute[(x.numel() // tile,)](
            x, factors, out, *key, first, blocks, size.bit_length() - 1, tile, scatter
        )
    return out


@triton.jit(do_not_specialize=_DRAWN)
def _multiply_signs(x, k0, k1, first, blocks, TILES: tl.constexpr, TILE: tl.constexpr):
    tile = tl.program_id(0).to(tl.int64)
    block = first + (tile // TILES) % blocks
    inside = tl.arange(0, TILE)
    i = (tile % TILES) * TILE + inside
    a, b, c, d = _philox(k0, k1, i >> 7, block, 1)
    which = (i >> 5) & 3
    word = tl.where(which == 0, a, tl.where(which == 1, b, tl.where(which == 2, c, d)))
    minus = (word >> (i & 31).to(tl.uint32)) & 1
    at = x + tile * TILE + inside
    value = tl.load(at)
    tl.store(at, tl.where(minus != 0, -value, value))


@triton.jit(do_not_specialize=_DRAWN)
def _permute(
    x, factors, out, k0, k1, first, blocks, BITS: tl.constexpr, TILE: tl.constexpr,
    SCATTER: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0).to(tl.int64)
    tiles: tl.constexpr = (1 << BITS) // TILE
    block = (tile // tiles) % blocks
    i = (tile % tiles) * TILE + tl.arange(0, TILE)
    m0, m1, m2, m3 = _philox(k0, k1, 0, first + block, 2)
    m4, a0, a1, a2 = _philox(k0, k1, 1, first + block, 2)
    a3, a4, _, _ = _philox(k0, k1, 2, first + block, 2)
    p = i.to(tl.uint32)
    p = _round(p, m0, a0, BITS)
    p = _round(p, m1, a1, BITS)
    p = _round(p, m2, a2, BITS)
    p = _round(p, m3, a3, BITS)
    p = _round(p, m4, a4, BITS)
    p = (p ^ (p >> ((BITS + 1) // 2))).to(tl.int64)
    start = (tile // tiles) << BITS
    factor = tl.load(factors + (block << BITS) + i)
    if SCATTER:
        tl.store(out + start + p, factor * tl.load(x + start + i))
    else:
        tl.store(out + start + i, factor * tl.load(x + start + p))


@triton.jit
def _round(p, multiplier, addend, BITS: tl.constexpr):
    p = p ^ (p >> ((BITS + 1) // 2))
    return (p * (multiplier | 1) + addend) & ((1 << BITS) - 1)


@triton.jit
def _philox(k0, k1, c0, c1, c2):
    """The four words of counter (c0, c1, c2, 0), uint32."""
    k0, k1 = _word(k0), _word(k1)
    c0, c1, c2 = _word(c0), _word(c1), _word(c2)
    c3 = c1 * 0
    for _ in tl.static_range(10):
        high0, high1 = tl.umulhi(c0, _word(0xD2511F53)), tl.umulhi(c2, _word(0xCD9E8D57))
        low0, low1 = c0 * _word(0xD2511F53), c2 * _word(0xCD9E8D57)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + _word(0x9E3779B9), k1 + _word(0xBB67AE85)
    return c0, c1, c2, c3


@triton.jit
def _word(number):
    return tl.cast(number, tl.uint32)
