"""How many bytes a trained net of results/sparsity.md takes, and what fits into as many.

Counted: 4 bytes for each stored number; 8 for a seed, if the net needs one; and for a sparse net
which k of the D weights remain, in ⌈log2 C(D, k)⌉ bits. No code for equally likely sets needs fewer
(a bitmask: D bits; gaps of 16 bits: 16 k), so sparse nets have the best of it. Architectures are
not counted.
"""

from __future__ import annotations

import bisect
import functools
import math

NATIVE = 21_840  # D, parameters of the post's conv net
NUMBERS = (300, 1_000, 3_000, 10_000, NATIVE)
NUMBER_BYTES, SEED_BYTES = 4, 8


def index_bytes(k: int, native: int = NATIVE) -> int:
    """Bytes that say which k of the weights remain."""
    bits = (math.comb(native, k) - 1).bit_length()
    return -(-bits // 8)


def dense_bytes(k: int) -> int:
    """Bytes of k numbers whose places are known."""
    return NUMBER_BYTES * k


def seeded_bytes(k: int) -> int:
    """Bytes of k numbers and the seed that makes the rest, P and θ₀."""
    return NUMBER_BYTES * k + SEED_BYTES


def sparse_bytes(k: int) -> int:
    """Bytes of a net with k weights left."""
    return NUMBER_BYTES * k + index_bytes(k)


def sparse_size(budget: int) -> int:
    """The most weights that a sparse net may keep to fit into the bytes."""
    return bisect.bisect_right(range(NATIVE + 1), budget, key=sparse_bytes) - 1


@functools.cache
def equal_size(k: int) -> int:
    """How many weights a sparse net may keep to take no more bytes than a subspace of k numbers."""
    return sparse_size(seeded_bytes(k))
