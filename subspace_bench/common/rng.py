"""Named random streams: all randomness of a run is a pure function of (seed, name, index).

Initialisation, projector, batches and dropout each have a stream of their own, and each kind of
projector another, so that changing one leaves the others alone, and an interrupted run goes on
without any generator state.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch


def generator(seed: int, name: str, index: int = 0) -> np.random.Generator:
    """The generator of stream `name` at `index` (a step, an epoch, a column).

    Any two that differ in seed, name or index are independent (NumPy's `SeedSequence`).
    """
    return np.random.default_rng((seed, zlib.crc32(name.encode()), index))


def key(seed: int, name: str) -> tuple[int, int]:
    """The two 32-bit words that key a counter-based generator on stream `name`."""
    words = np.random.SeedSequence((seed, zlib.crc32(name.encode()))).generate_state(2, np.uint32)
    return int(words[0]), int(words[1])


def seed_torch(seed: int, name: str, index: int = 0) -> None:
    """Puts torch's global generators, which `nn.Dropout` draws from, on the stream's numbers."""
    sequence = np.random.SeedSequence((seed, zlib.crc32(name.encode()), index))
    state = int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))
    torch.default_generator.manual_seed(state)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(state)
