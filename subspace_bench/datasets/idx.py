"""Reads and verifies the four IDX files of a dataset in MNIST's format.

An IDX file has two zero bytes, the byte 8 (uint8), the number of dimensions, each dimension as a
big-endian 32-bit integer, and the values.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path

import numpy as np

from subspace_bench.common.errors import UserError
from subspace_bench.datasets.catalog import FILES, IDX_DATASETS
from subspace_bench.datasets.dataset import Dataset, from_arrays
from subspace_bench.datasets.locate import download_command

LARGEST = 1 << 26  # bytes read of a compressed file; the largest of the datasets has 47 MB


def read_idx(name: str, folder: Path) -> Dataset:
    """Reads the four files.

    Raises:
        UserError: if a file cannot be read or its SHA-256 is not the dataset's.
    """
    arrays = []
    for file, expected in zip(FILES, IDX_DATASETS[name].sha256, strict=True):
        path = folder / file
        if not path.is_file() and (packed := folder / f"{file}.gz").is_file():
            path = packed
        content = _read(name, path)
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != expected:
            reason = f"its SHA-256 is {sha256[:12]}…, expected {expected[:12]}…"
            raise _corrupt_file(name, path, reason)
        arrays.append(parse(content))
    return from_arrays(name, arrays, IDX_DATASETS[name].sha256, str(folder))


def _read(name: str, path: Path) -> bytes:
    """The content of a file, uncompressed; of FILE.gz no more than such a file can have."""
    try:
        if path.suffix != ".gz":
            return path.read_bytes()
        with gzip.open(path) as file:
            return file.read(LARGEST)
    except (EOFError, zlib.error, gzip.BadGzipFile) as failure:
        raise _corrupt_file(name, path, "it cannot be uncompressed") from failure
    except OSError as failure:
        raise UserError(f"cannot read {path}: {failure.strerror}") from failure


def _corrupt_file(name: str, path: Path, reason: str) -> UserError:
    return UserError(
        f"{path} is corrupt or not a file of {name}: {reason}; "
        f"delete it and download it again: `{download_command(name, path.parents[2])}`"
    )


def parse(content: bytes) -> np.ndarray:
    """The images, uint8 (n, 28, 28), or labels, uint8 (n,), in an IDX file."""
    dimensions = content[3]
    shape = np.frombuffer(content, ">i4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape).copy()
