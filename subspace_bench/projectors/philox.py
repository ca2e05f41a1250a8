"""Philox-4x32-10, a counter-based generator: random numbers as a pure function of (key, counter).

Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011). What a
projector draws from it needs no storage: any entry is made again, anywhere, in any order.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MASK = 0xFFFFFFFF
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10


def words(key: tuple[int, int], *counter: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four words of 32 random bits each, as int64, for every counter.

    Arguments:
        key: two 32-bit words (see `streams.key`).
        counter: up to four int64 tensors of 32-bit words, which broadcast; those left out are 0.
    """
    c = [*torch.broadcast_tensors(*counter)]  # type: ignore[no-untyped-call]
    c += [torch.zeros_like(c[0])] * (4 - len(c))
    k0, k1 = key
    for _ in range(ROUNDS):
        # int64 products wrap, but their 64 bits are right; the mask undoes the shift's sign.
        p0, p1 = c[0] * MULTIPLIERS[0], c[2] * MULTIPLIERS[1]
        c = [
            ((p1 >> 32) & MASK) ^ c[1] ^ k0,
            p1 & MASK,
            ((p0 >> 32) & MASK) ^ c[3] ^ k1,
            p0 & MASK,
        ]
        k0, k1 = (k0 + WEYL[0]) & MASK, (k1 + WEYL[1]) & MASK
    return c[0], c[1], c[2], c[3]


def normal_pair(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Two independent N(0, 1), float32, from two words (Box and Muller 1958).

    u = a·2⁻³² + 2⁻³³ in (0, 1] and t = signed(b)·2⁻³² turns, in float32, give √(−2 ln u)·cos 2πt
    and √(−2 ln u)·sin 2πt, which are evaluated in float64 here: the correctly rounded numbers that
    kernels come within 2 ulp of.
    """
    u = a.float().mul_(2.0**-32).add_(2.0**-33).double()
    turns = (((b + (1 << 31)) & MASK) - (1 << 31)).float().mul_(2.0**-32).double()
    radius, angle = (-2 * u.log()).sqrt(), 2 * math.pi * turns
    return (radius * angle.cos()).float(), (radius * angle.sin()).float()
