"""Downloads a dataset in MNIST's format with torchvision: quiet, verified and atomic."""

from __future__ import annotations

import contextlib
import io
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from subspace_bench.common.errors import UserError
from subspace_bench.common.validation import require_choice
from subspace_bench.datasets.catalog import IDX_DATASETS
from subspace_bench.datasets.idx import read_idx
from subspace_bench.datasets.locate import DATA_VARIABLE, cache_folder, missing_files, raw_folder

DOWNLOAD_TIMEOUT = 10.0  # seconds without an answer


class DatasetUnavailable(UserError):
    """The dataset is not on this machine and could not be downloaded."""


def download(name: str, root: Path | None = None) -> Path:
    """Downloads a dataset into ROOT/MNIST/raw (or FashionMNIST); returns that folder.

    Files go to a temporary folder in `root` (default: the user's cache directory). After all are
    verified, the missing ones are moved into place.

    Raises:
        DatasetUnavailable: if no mirror answers within seconds, or `root` cannot be written.
        UserError: for an unknown name, or if a mirror delivers wrong content.
    """
    require_choice("dataset to download", [name], IDX_DATASETS)
    from torchvision import datasets

    torchvision_class: type[datasets.MNIST] = getattr(datasets, IDX_DATASETS[name].folder)
    root = root or cache_folder()
    folder, existed = raw_folder(name, root), root.exists()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as temporary:
            with _short_timeout(), _no_output(), _mirrors(name, torchvision_class):
                torchvision_class(temporary, download=True)
            downloaded = raw_folder(name, Path(temporary))
            _verify(name, downloaded)
            folder.mkdir(parents=True, exist_ok=True)
            for file in missing_files(folder):
                (downloaded / file).replace(folder / file)
    except (OSError, RuntimeError, EOFError) as failure:  # URLErrors and timeouts are OSErrors
        if not existed:
            with contextlib.suppress(OSError):
                root.rmdir()
        raise DatasetUnavailable(
            f"{name} could not be downloaded into {root} ({_last_line(failure)}): "
            f"set --data or {DATA_VARIABLE} to a folder that has it"
        ) from failure
    return folder


def _verify(name: str, folder: Path) -> None:
    try:
        read_idx(name, folder)
    except UserError as failure:
        raise UserError(
            f"torchvision's mirror delivered wrong files for {name}: "
            f"set --data or {DATA_VARIABLE} to a folder that has it"
        ) from failure


@contextlib.contextmanager
def _short_timeout() -> Iterator[None]:
    """Limits the wait for a server to DOWNLOAD_TIMEOUT."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def _mirrors(name: str, torchvision_class: Any) -> Iterator[None]:
    """Replaces the addresses that torchvision downloads from by ours, which all use https."""
    before = torchvision_class.mirrors
    torchvision_class.mirrors = list(IDX_DATASETS[name].mirrors)
    try:
        yield
    finally:
        torchvision_class.mirrors = before


@contextlib.contextmanager
def _no_output() -> Iterator[None]:
    """Hides torchvision's progress bars."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _last_line(failure: Exception) -> str:
    """The last line of torchvision's message, which gives the reason after the mirrors' answers."""
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    return lines[-1] if lines else type(failure).__name__
