"""A download that fails leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from torchvision.datasets import MNIST

from subspace_bench.datasets.download import DatasetUnavailable, download


def test_a_failed_download_leaves_no_folder(tmp_path: Path, monkeypatch) -> None:
    def no_network(self) -> None:
        raise RuntimeError("no route")

    monkeypatch.setattr(MNIST, "download", no_network)
    for root in (tmp_path / "new", tmp_path):
        with pytest.raises(DatasetUnavailable):
            download("mnist", root)
    assert list(tmp_path.iterdir()) == []
