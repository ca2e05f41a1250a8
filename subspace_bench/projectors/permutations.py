"""Random signs and permutations as functions of an index: Fastfood's B and Π, SRHT's, Hashed's.

Both are computed from Philox words on demand, equal on every device, and never stored. The
permutation of 0 … 2^k − 1 is built from invertible steps, like a block cipher: five
rounds of x ← x ⊕ (x ≫ ⌈k/2⌉), x ← (m·x + a) mod 2^k with m odd, and a last x ← x ⊕ (x ≫ ⌈k/2⌉).
With fewer rounds, pairs that differ in the highest bit stay correlated.
"""

from __future__ import annotations

import torch
from torch import Tensor

from subspace_bench.projectors import philox

ROUNDS = 5
SIGNS, PERMUTATION = 1, 2  # third word of the Philox counter; normals have 0
Key = tuple[int, int]
PermutationKeys = tuple[Tensor, Tensor]


def signs(key: Key, blocks: Tensor, start: int, stop: int) -> Tensor:
    """±1, float32 (blocks, stop − start): sign i of a block is bit i mod 32 of word ⌊i/32⌋.

    Arguments:
        blocks: (b,) int64, the numbers of the blocks; each has its own signs.
        start: a multiple of 128, because one counter gives 128 signs.
    """
    counters = torch.arange(start // 128, -(-stop // 128), device=blocks.device)
    what = torch.full_like(counters[:1], SIGNS)
    words = torch.stack(philox.words(key, counters, blocks[:, None], what), dim=-1)
    bits = (words[..., None] >> torch.arange(32, device=blocks.device)) & 1
    return 1 - 2 * bits.flatten(1)[:, : stop - start].float()


def permutation_keys(key: Key, blocks: Tensor) -> PermutationKeys:
    """The round keys of each block's permutation: 32-bit multipliers and addends, (blocks, 5)."""
    counters = torch.arange(3, device=blocks.device)
    what = torch.full_like(counters[:1], PERMUTATION)
    words = torch.stack(philox.words(key, counters, blocks[:, None], what), dim=-1).flatten(1)
    return words[:, :ROUNDS] | 1, words[:, ROUNDS : 2 * ROUNDS]


def permute_index(index: Tensor, keyed: PermutationKeys, bits: int) -> Tensor:
    """π(index) for the permutation of 0 … 2^bits − 1 of each block, bits ≤ 62.

    Arguments:
        index: (blocks, …) int64.
        keyed: the `permutation_keys` of the blocks.
    """
    multipliers, addends = (k.view(len(k), ROUNDS, *[1] * (index.ndim - 1)) for k in keyed)
    mask, half = (1 << bits) - 1, (bits + 1) // 2
    for r in range(ROUNDS):
        index = index ^ (index >> half)
        index = (index * multipliers[:, r] + addends[:, r]) & mask
    return index ^ (index >> half)


def permute_index_below(index: Tensor, keyed: PermutationKeys, below: int) -> Tensor:
    """π(index) for a permutation of 0 … below − 1; index is (1, n) int64.

    A permutation of 0 … 2^k − 1, 2^k ≥ below, is applied again to each number that is not below
    (cycle walking, Black and Rogaway 2002).
    """
    bits = max(1, (below - 1).bit_length())
    places = permute_index(index, keyed, bits)
    while len(beyond := (places >= below).nonzero(as_tuple=True)[1]):
        places[0, beyond] = permute_index(places[:, beyond], keyed, bits)[0]
    return places
