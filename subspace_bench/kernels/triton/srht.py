"""The passes of the SRHT between its transforms, on CUDA; see projectors/srht.py.

One launch each, in place: signs are computed in registers, one Philox counter for 128 of them.
Products are not fused with additions, so the bits are those of plain PyTorch. Not timed on a
device.
"""

import torch
import triton
import triton.language as tl

from . import on_device
from .permutations import signs

_TILE = 1024  # elements of a program; a multiple of 128
_HALF = tl.constexpr(0.5**0.5)
_DRAWN = ["k0", "k1"]  # not worth a kernel for each value


def spread(omega: torch.Tensor, positions: torch.Tensor, theta: torch.Tensor) -> None:
    """theta[:, positions] ← omega for distinct positions; torch's own would sort them first where
    it must be deterministic."""
    dim, native = omega.shape[1], theta.shape[1]
    if omega.numel():
        with on_device(omega):
            _spread[(triton.cdiv(omega.numel(), _TILE),)](
                omega, positions, theta, omega.numel(), dim, native, _TILE
            )


def multiply_signs_(
    rows: torch.Tensor, size: int, key: tuple[int, int], block: int, scale: float
) -> None:
    """The last `size` numbers of each row ← scale · signs · these, with the signs of `block`.

    Arguments:
        rows: (n, D), float32 or float64, contiguous.
    """
    native, tiles = rows.shape[1], triton.cdiv(size, _TILE)
    with on_device(rows):
        _multiply_signs[(tiles * len(rows),)](
            rows, native, size, tiles, *key, block, scale, _TILE, enable_fp_fusion=False
        )


def fold_(rows: torch.Tensor, size: int, key: tuple[int, int], scale: float, back: bool) -> None:
    """Each row ← D₁ X C row, or with `back` its adjoint C X D₁ row; see `SRHT._fold`.

    Arguments:
        rows: (n, D), float32 or float64, contiguous.
        size: m, the length of a transform; coordinate i < D − m is paired with m + i.
        scale: C's, of the first m coordinates.
    """
    native, tiles = rows.shape[1], triton.cdiv(size, _TILE)
    with on_device(rows):
        _fold[(tiles * len(rows),)](
            rows, native, size, tiles, *key, scale, back, _TILE, enable_fp_fusion=False
        )


@triton.jit
def _spread(omega, positions, theta, count, dim, native, TILE: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
    inside = i < count
    position = tl.load(positions + i % dim, mask=inside, other=0).to(tl.int64)
    value = tl.load(omega + i, mask=inside, other=0.0)
    tl.store(theta + i // dim * native + position, value, mask=inside)


@triton.jit(do_not_specialize=_DRAWN)
def _multiply_signs(
    rows, native, size, tiles, k0, k1, BLOCK: tl.constexpr, SCALE: tl.constexpr, TILE: tl.constexpr
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    begin = program % tiles * TILE
    i = begin + tl.arange(0, TILE)
    at = rows + program // tiles * native + (native - size) + i
    value = tl.load(at, mask=i < size, other=0.0)
    value = _signed(value, signs(k0, k1, BLOCK, begin, TILE))
    tl.store(at, value * tl.full((TILE,), SCALE, value.dtype), mask=i < size)


@triton.jit(do_not_specialize=_DRAWN)
def _fold(
    rows, native, size, tiles, k0, k1, SCALE: tl.constexpr, BACK: tl.constexpr, TILE: tl.constexpr
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    begin = program % tiles * TILE
    i = begin + tl.arange(0, TILE)
    inside, paired = i < size, i < native - size
    at = rows + program // tiles * native + i
    low = tl.load(at, mask=inside, other=0.0)
    high = tl.load(at + size, mask=paired, other=0.0)
    scale, half = tl.full((TILE,), SCALE, low.dtype), tl.full((TILE,), _HALF, low.dtype)
    first, second = signs(k0, k1, 0, begin, TILE), signs(k0, k1, 1, begin, TILE)
    if BACK:
        low, high = _signed(low, first), _signed(high, second)
    else:
        low *= scale
    difference = (low - high) * half
    low = tl.where(paired, (low + high) * half, low)
    if BACK:
        low *= scale
    else:
        low, difference = _signed(low, first), _signed(difference, second)
    tl.store(at, low, mask=inside)
    tl.store(at + size, difference, mask=paired)


@triton.jit
def _signed(value, minus):
    return tl.where(minus != 0, -value, value)
