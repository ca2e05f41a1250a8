"""Named random streams: every random number is a pure function of (seed, stream name, index).

Initialisation, batches, dropout and each kind of projector have streams of their own, so that a
change to one leaves the numbers of the others as they are, and an interrupted run resumes without
saved generator states.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch


def generator(seed: int, name: str, index: int = 0) -> np.random.Generator:
    """The generator of stream `name` at `index` (a step, an epoch, a column).

    Generators that differ in seed, name or index are independent (NumPy's `SeedSequence`).
    """
    return np.random.default_rng((seed, zlib.crc32(name.encode()), index))


def key(seed: int, name: str) -> tuple[int, int]:
    """The two 32-bit words that key a counter-based generator (Philox) on stream `name`."""
    words = np.random.SeedSequence((seed, zlib.crc32(name.encode()))).generate_state(2, np.uint32)
    return int(words[0]), int(words[1])


def seed_torch(seed: int, name: str, index: int = 0) -> None:
    """Seeds torch's global generators, which `nn.Dropout` draws from, with the stream."""
    sequence = np.random.SeedSequence((seed, zlib.crc32(name.encode()), index))
    state = int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))
    torch.default_generator.manual_seed(state)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(state)
