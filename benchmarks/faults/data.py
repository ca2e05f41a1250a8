"""What a net sees: files, pixels, labels, batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.faults import fault
from subspace_bench.data import Dataset

batches: Any = import_module("subspace_bench.batches")
data: Any = import_module("subspace_bench.data")
train: Any = import_module("subspace_bench.train")


def change_dataset(change: Callable[[Dataset], Dataset]) -> None:
    """What workers load is changed; the digest stays, as nobody would notice."""
    plain = data.load
    data.load = lambda *a, **k: change(plain(*a, **k))


@fault()
def normalised_in_training_only() -> None:
    """Pixels are normalised in training and not in the test."""
    plain = train.scaled
    train.scaled = lambda x, scale, dtype: plain(x, "unit", dtype)


@fault()
def not_normalised() -> None:
    """Pixels are divided by 255 and never centred."""
    for module in (train, batches):
        plain = module.scaled
        module.scaled = lambda x, scale, dtype, plain=plain: plain(x, "unit", dtype)


@fault()
def mean_subtracted_twice() -> None:
    """The mean is taken off twice in training."""
    plain = batches.scaled
    batches.scaled = lambda x, scale, dtype: plain(x, scale, dtype) - 0.1307 / 0.3081


def shift_labels(every: int) -> None:
    def change(dataset: Dataset) -> Dataset:
        labels = dataset.train_labels.clone()
        labels[::every] = (labels[::every] + 1) % 10
        return dataclasses.replace(dataset, train_labels=labels)

    change_dataset(change)


@fault()
def labels_shifted_in_1_percent() -> None:
    """1% of the training rows have the label of the next class."""
    shift_labels(100)


@fault()
def labels_shifted_in_a_500th() -> None:
    """0.2% of the training rows have the label of the next class."""
    shift_labels(500)


@fault()
def labels_shifted_in_a_tenth() -> None:
    """10% of the training rows have the label of the next class."""
    shift_labels(10)


@fault()
def test_labels_shifted_in_1_percent() -> None:
    """1% of the test rows have the label of the next class."""

    def change(dataset: Dataset) -> Dataset:
        labels = dataset.test_labels.clone()
        labels[::100] = (labels[::100] + 1) % 10
        return dataclasses.replace(dataset, test_labels=labels)

    change_dataset(change)


@fault()
def test_images_in_training() -> None:
    """The 10,000 test images stand in the training set, in the place of others."""

    def change(dataset: Dataset) -> Dataset:
        images, labels = dataset.train_images.clone(), dataset.train_labels.clone()
        images[:10_000], labels[:10_000] = dataset.test_images, dataset.test_labels
        return dataclasses.replace(dataset, train_images=images, train_labels=labels)

    change_dataset(change)


@fault()
def trained_on_a_tenth() -> None:
    """Only the first 6,000 training images are seen."""
    plain = batches.kept
    batches.kept = lambda protocol, n: slice(0, plain(protocol, n).stop // 10)


@fault()
def test_images_transposed() -> None:
    """Rows and columns of the test images are exchanged."""
    change_dataset(lambda d: dataclasses.replace(d, test_images=d.test_images.transpose(1, 2)))


@fault()
def training_images_shifted_by_a_pixel() -> None:
    """Training images lie one pixel to the right of the test images."""
    change_dataset(lambda d: dataclasses.replace(d, train_images=d.train_images.roll(1, 2)))


@fault()
def last_batch_dropped() -> None:
    """The partial last batch of an epoch is dropped."""
    plain = batches.Batches.__init__

    def init(self: Any, *arguments: Any) -> None:
        plain(self, *arguments)
        self.per_epoch = len(self.labels) // self.protocol.batch

    batches.Batches.__init__ = init


@fault()
def one_batch_for_all_steps() -> None:
    """Every step sees the batches of the first ten again."""
    plain = batches.Batches.indices
    batches.Batches.indices = lambda self, step: plain(self, step % 10)


@fault()
def half_of_every_batch() -> None:
    """Half of each batch is lost."""
    plain = batches.Batches.indices
    batches.Batches.indices = lambda self, step: plain(self, step)[: self.protocol.batch // 2]


@fault()
def batches_sorted_by_label() -> None:
    """The data are dealt out in the order of their labels."""

    def indices(self: Any, step: int) -> np.ndarray:
        order = np.argsort(self.labels.numpy(), kind="stable")
        start = step * self.protocol.batch % len(order)
        return np.asarray(np.roll(order, -start)[: self.protocol.batch])

    batches.Batches.indices = indices
