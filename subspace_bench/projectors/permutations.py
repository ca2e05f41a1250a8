"""What fast projections draw besides normals: signs and permutations, as functions of an index.

Both are made again from Philox words wherever they are needed, the same on every device. The
permutation of 2^k numbers is a keyed bijection in the manner of a block cipher: five rounds of
x ← x ⊕ (x ≫ ⌈k/2⌉), then x ← (m·x + a) mod 2^k with m odd, and a last shift; fewer leave pairs
that differ in the highest bit recognisable.
"""

from __future__ import annotations

import torch
from torch import Tensor

from subspace_bench.projectors import philox

ROUNDS = 5
SIGNS, PERMUTATION = 1, 2  # third word of Philox' counter; 0 is for normals
Key = tuple[int, int]
Rounds = tuple[Tensor, Tensor]


def signs(key: Key, blocks: Tensor, start: int, stop: int) -> Tensor:
    """±1, float32 (blocks, stop − start): sign i of a block is bit i mod 32 of word ⌊i/32⌋.

    Arguments:
        blocks: (b,) int64, their numbers; each has its own signs.
        start: a multiple of 128, the numbers that one counter gives.
    """
    counters = torch.arange(start // 128, -(-stop // 128), device=blocks.device)
    what = torch.tensor(SIGNS, device=blocks.device)
    words = torch.stack(philox.words(key, counters, blocks[:, None], what), dim=-1)
    bits = (words[..., None] >> torch.arange(32, device=blocks.device)) & 1
    return 1 - 2 * bits.flatten(1)[:, : stop - start].float()


def rounds(key: Key, blocks: Tensor) -> Rounds:
    """What keys the permutation of each block: 32-bit multipliers and addends (blocks, 5)."""
    counters = torch.arange(3, device=blocks.device)
    what = torch.tensor(PERMUTATION, device=blocks.device)
    words = torch.stack(philox.words(key, counters, blocks[:, None], what), dim=-1).flatten(1)
    return words[:, :ROUNDS] | 1, words[:, ROUNDS : 2 * ROUNDS]


def permuted(index: Tensor, keyed: Rounds, bits: int) -> Tensor:
    """Where a permutation of 0 … 2^bits − 1 takes `index`, bits ≤ 62.

    Arguments:
        index: int64 (blocks, …).
        keyed: the blocks' `rounds`.
    """
    multipliers, addends = (k.view(len(k), ROUNDS, *[1] * (index.ndim - 1)) for k in keyed)
    mask, half = (1 << bits) - 1, (bits + 1) // 2
    for r in range(ROUNDS):
        index = index ^ (index >> half)
        index = (index * multipliers[:, r] + addends[:, r]) & mask
    return index ^ (index >> half)


def permuted_below(index: Tensor, keyed: Rounds, below: int) -> Tensor:
    """Where a permutation of 0 … below − 1 takes `index`, int64 (1, …).

    A permutation of 0 … 2^k − 1, 2^k ≥ below, is followed from each number until it is below
    (cycle walking, Black and Rogaway 2002).
    """
    bits = max(1, (below - 1).bit_length())
    found = permuted(index, keyed, bits)
    while len(beyond := (found >= below).nonzero(as_tuple=True)[1]):
        found[0, beyond] = permuted(found[:, beyond], keyed, bits)[0]
    return found
