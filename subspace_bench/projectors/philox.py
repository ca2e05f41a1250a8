"""Philox-4x32-10, a counter-based generator: random numbers as a pure function of (key, counter).

Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011). A projector
that uses it stores nothing, because any entry can be recomputed anywhere and in any order. This is
the definition in plain PyTorch; kernels give the same words, and the same normals to 2 ulp.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MASK = 0xFFFFFFFF
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
TURN = 2 * math.pi * 2.0**-32  # radians per unit of angle: 2³² units make a turn


def words(key: tuple[int, int], *counter: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four 32-bit words of each counter, as int64.

    Arguments:
        key: two 32-bit words, from `rng.key`.
        counter: up to four int64 tensors of 32-bit words, which are broadcast; missing ones are 0.
    """
    c = [*torch.broadcast_tensors(*counter)]  # type: ignore[no-untyped-call]
    c += [torch.zeros_like(c[0])] * (4 - len(c))
    k0, k1 = key
    for _ in range(ROUNDS):
        # int64 products wrap, but all 64 bits are right; the mask undoes the sign extension.
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

    The radius is r = √(−2 ln u), u = (a | 1)·2⁻³² in (0, 1]. The low 30 bits of b, read as a signed
    integer, are an angle φ within an eighth of a turn; bit 31 negates r cos φ, and bit 30 swaps it
    with r sin φ. The four arcs cover the circle, and no argument reduction is needed.
    u and φ are rounded to float32 and the rest is computed in float64, so this result is correctly
    rounded; kernels may differ from it by 2 ulp.
    """
    u = (a | 1).float().mul_(2.0**-32).double()
    quarters = (((b & (MASK >> 2)) ^ (1 << 29)) - (1 << 29)).float()  # the low 30 bits, signed
    angle = (quarters * TURN).double()
    radius = (-2 * u.log()).sqrt_()
    cosine, sine = radius * angle.cos(), radius * angle.sin()
    cosine = torch.where(b >= 1 << 31, -cosine, cosine).float()
    sine, swap = sine.float(), (b >> 30) & 1 == 1
    return torch.where(swap, sine, cosine), torch.where(swap, cosine, sine)


def normals(key: tuple[int, int], start: int, stop: int, c1: Tensor, c2: int) -> Tensor:
    """N(0, 1) numbers start … stop − 1 of each c1: (len(c1), stop − start), float32.

    Number i is number (i // 16) % 4 of the counter (16·(i // 64) + i % 16, c1, c2, 0), so that the
    16 lanes of a vector are 16 counters. Numbers 0 and 1 are the `normal_pair` of words 0 and 1,
    numbers 2 and 3 are the pair of words 2 and 3.

    Arguments:
        start: a multiple of 64.
        c1: (n,) int64.
    """
    blocks = torch.arange(start // 64, -(-stop // 64), device=c1.device)
    lanes = torch.arange(16, device=c1.device)
    what = torch.full_like(lanes, c2)
    abcd = words(key, 16 * blocks[:, None] + lanes, c1[:, None, None], what)
    pairs = normal_pair(*abcd[:2]), normal_pair(*abcd[2:])
    return torch.stack([*pairs[0], *pairs[1]], dim=2).flatten(1)[:, : stop - start]
