"""Reads and verifies the four IDX files of a dataset in MNIST's format.

An IDX file has two zero bytes, the byte 8 (uint8), the number of dimensions, each dimension as a
big-endian 32-bit integer, and the values.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from subspace_bench.common.errors import UserError
from subspace_bench.datasets.catalog import FILES, IDX_DATASETS
from subspace_bench.datasets.dataset import Dataset, from_arrays
from subspace_bench.datasets.locate import download_command


def read_idx(name: str, folder: Path) -> Dataset:
    """Reads the four files.

    Raises:
        UserError: if a file cannot be read or its SHA-256 is not the dataset's.
    """
    arrays = []
    for file, expected in zip(FILES, IDX_DATASETS[name].sha256, strict=True):
        path = folder / file
        try:
            content = path.read_bytes()
        except OSError as failure:
            raise UserError(f"cannot read {path}: {failure.strerror}") from failure
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != expected:
            raise UserError(
                f"{path} is corrupt or not a file of {name}: its SHA-256 is {sha256[:12]}…, "
                f"expected {expected[:12]}…; delete it and download it again: "
                f"`{download_command(name, path.parents[2])}`"
            )
        arrays.append(parse(content))
    return from_arrays(name, arrays, IDX_DATASETS[name].sha256, str(folder))


def parse(content: bytes) -> np.ndarray:
    """The images, uint8 (n, 28, 28), or labels, uint8 (n,), in an IDX file."""
    dimensions = content[3]
    shape = np.frombuffer(content, ">i4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape).copy()
