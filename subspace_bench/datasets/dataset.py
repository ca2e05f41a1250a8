"""A dataset in memory: images, labels and the hash that identifies them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels in memory.

    Attributes:
        train_images, test_images: uint8 (n, 28, 28).
        train_labels, test_labels: int64 (n,), 0 … 9.
        digest: SHA-256 over the SHA-256 of the four files (for mnist-5k, of the four arrays), in
            the order of `catalog.FILES`.
        source: the folder it was read from, or the package it is embedded in.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    digest: str
    source: str


def from_arrays(
    name: str, arrays: Sequence[np.ndarray], hashes: Sequence[str], source: str
) -> Dataset:
    """A dataset from four arrays in the order of `catalog.FILES` and the SHA-256 of each."""
    train_images, train_labels, test_images, test_labels = map(torch.from_numpy, arrays)
    digest = hashlib.sha256("".join(hashes).encode()).hexdigest()
    return Dataset(
        name, train_images, train_labels.long(), test_images, test_labels.long(), digest, source
    )
