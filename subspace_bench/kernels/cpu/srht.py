"""The passes of the SRHT between its transforms, on the CPU, float32; see projectors/srht.py.

flip: x ← c·D₂x. fold: x ← D₁ X C x, or its adjoint C X D₁ x. Signs are computed as they are used.
"""

from functools import cache

import numpy as np
from torch import Tensor

from .permutations import signs128
from .philox import round_keys
from .simd import aligned, jit
from .threads import in_threads

_GROUP = 128  # signs that one counter gives
_PART = 1 << 14  # elements in a part of the work


def multiply_signs_(x: Tensor, key: tuple[int, int], block: int, scale: float) -> None:
    """x (n,) ← scale · signs · x in place, with the signs of block `block`."""
    in_threads(
        _multiply_signs_parts, x.numpy(), round_keys(key), block, np.float32(scale),
        parts=-(-len(x) // _PART), estimate=0.2 * len(x),
    )  # fmt: skip


def fold_(x: Tensor, size: int, key: tuple[int, int], scale: float, back: bool) -> None:
    """x (n,) ← D₁ X C x in place, or with `back` its adjoint C X D₁ x; see `SRHT._fold`.

    Arguments:
        size: m, the length of a transform; coordinate i < n − m is paired with m + i.
        scale: C's, of the first m coordinates.
    """
    in_threads(
        _fold(back), x.numpy(), size, round_keys(key), np.float32(scale),
        parts=-(-size // _PART), estimate=0.2 * len(x),
    )  # fmt: skip


@jit
def _multiply_signs_parts(x, key, block, scale, first, last):
    signs = aligned(_GROUP)
    for i in range(first * _PART, min(last * _PART, len(x)), _GROUP):
        signs128(key, i // _GROUP, block, signs, 0)
        piece = x[i : i + _GROUP]
        for j in range(len(piece)):
            piece[j] *= signs[j] * scale


@cache
def _fold(BACK: bool):
    @jit
    def fold(x, size, key, scale, first, last):
        low, high = aligned(_GROUP), aligned(_GROUP)
        half = np.float32(np.sqrt(0.5))
        for i in range(first * _PART, min(last * _PART, size), _GROUP):
            signs128(key, i // _GROUP, 0, low, 0)
            end = min(i + _GROUP, size)
            a, b = x[i:end], x[size + i : size + end]
            if len(b):
                signs128(key, i // _GROUP, 1, high, 0)
            # X: a rotation by 45° of each pair. BACK is a constant, so one branch is compiled.
            for j in range(len(b)):
                if BACK:
                    p, q = low[j] * a[j], high[j] * b[j]
                    a[j] = (p + q) * half * scale
                    b[j] = (p - q) * half
                else:
                    p, q = a[j] * scale, b[j]
                    a[j] = (p + q) * half * low[j]
                    b[j] = (p - q) * half * high[j]
            # Coordinates n − m … m − 1 have no partner.
            rest, signs = a[len(b) :], low[len(b) :]
            for j in range(len(rest)):
                rest[j] *= signs[j] * scale

    return fold
