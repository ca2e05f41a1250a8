"""Fastfood's signs B and permutation Π on CUDA, in registers; see projectors/permutations.py.

One launch each, where plain PyTorch takes some 300 small ones for the same numbers.
"""

import torch
import triton
import triton.language as tl

from . import on_device
from .permutations import permute_index, signs

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
    minus = signs(k0, k1, block, (tile % TILES) * TILE, TILE)
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
    p = permute_index(i, k0, k1, first + block, BITS).to(tl.int64)
    start = (tile // tiles) << BITS
    factor = tl.load(factors + (block << BITS) + i)
    if SCATTER:
        tl.store(out + start + p, factor * tl.load(x + start + i))
    else:
        tl.store(out + start + i, factor * tl.load(x + start + p))
