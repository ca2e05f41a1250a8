"""A download that fails leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import pytest
from torchvision.datasets import MNIST

from subspace_bench.datasets import catalog
from subspace_bench.datasets.download import DatasetUnavailable, download


def test_a_failed_download_leaves_no_folder(tmp_path: Path, monkeypatch) -> None:
    def no_network(self) -> None:
        raise RuntimeError("no route")

    monkeypatch.setattr(MNIST, "download", no_network)
    for root in (tmp_path / "new", tmp_path):
        with pytest.raises(DatasetUnavailable):
            download("mnist", root)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", catalog.IDX_DATASETS)
def test_downloads_use_https_only(name: str, tmp_path: Path, monkeypatch) -> None:
    tried: list[str] = []

    def refuse(url: str, *arguments: object, **options: object) -> None:
        tried.append(url)
        raise URLError("no route")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", refuse)
    with pytest.raises(DatasetUnavailable):
        download(name, tmp_path)
    assert tried
    assert all(url.startswith("https://") for url in tried)
