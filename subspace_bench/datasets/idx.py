"""Reads and verifies the four IDX files of MNIST or Fashion-MNIST.

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
from subspace_bench.datasets import catalog
from subspace_bench.datasets.dataset import Dataset, from_arrays
from subspace_bench.datasets.locate import download_command


def read_idx(name: str, folder: Path) -> Dataset:
    """Reads the four files.

    MNIST is verified by SHA-256. Fashion-MNIST has no published SHA-256, so its format, shapes and
    label balance (6,000 and 1,000 per class) are checked.

    Raises:
        UserError: if a file cannot be read, is corrupt, or belongs to another dataset.
    """
    hashes, arrays = [], []
    for i, (file, count) in enumerate(zip(catalog.FILES, catalog.COUNTS, strict=True)):
        path = folder / file
        if not path.is_file() and (packed := folder / f"{file}.gz").is_file():
            path = packed
        content = _read(name, path, count)
        sha256 = hashlib.sha256(content).hexdigest()
        expected = catalog.SHA256[name][i] if name in catalog.SHA256 else sha256
        if sha256 != expected:
            raise _corrupt_file_error(
                name, path, f"its SHA-256 is {sha256[:12]}…, expected {expected[:12]}…"
            )
        hashes.append(sha256)
        arrays.append(_parse(name, path, content, count))
    for i in (1, 3):
        _check_balance(name, folder / catalog.FILES[i], arrays[i])
    return from_arrays(name, arrays, hashes, str(folder))


def _read(name: str, path: Path, count: int) -> bytes:
    """The content of a file, uncompressed; of FILE.gz no more than such a file can have."""
    try:
        if path.suffix != ".gz":
            return path.read_bytes()
        with gzip.open(path) as file:
            return file.read(count * 28 * 28 + 17)
    except (EOFError, zlib.error, gzip.BadGzipFile) as failure:
        raise _corrupt_file_error(name, path, "it cannot be uncompressed") from failure
    except OSError as failure:
        raise UserError(f"cannot read {path}: {failure.strerror}") from failure


def _parse(name: str, path: Path, content: bytes, count: int) -> np.ndarray:
    """`count` images, uint8 (count, 28, 28), or labels, uint8 (count,)."""
    shape = (count, 28, 28) if "images" in path.name else (count,)
    header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">i4").tobytes()
    if not content.startswith(header) or len(content) != len(header) + np.prod(shape):
        raise _corrupt_file_error(name, path, f"it is not an IDX file of shape {shape}")
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape).copy()


def _check_balance(name: str, path: Path, labels: np.ndarray) -> None:
    counts = np.bincount(labels, minlength=10).tolist()
    if name == "fashion-mnist" and counts != [len(labels) // 10] * 10:
        raise _corrupt_file_error(name, path, f"its labels per class are {counts}")


def _corrupt_file_error(name: str, path: Path, reason: str) -> UserError:
    return UserError(
        f"{path} is corrupt or not a file of {name}: {reason}; "
        f"delete it and download it again: `{download_command(name, path.parents[2])}`"
    )
