"""What a net sees: files, pixels, labels, batches."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from typing import Any

import numpy as np

from subspace_bench.datasets.dataset import Dataset
from subspace_bench.regression.validation.mutations import fault
from subspace_bench.regression.validation.patching import change_dataset

batches: Any = import_module("subspace_bench.datasets.batches")
train: Any = import_module("subspace_bench.training.loop")


@fault()
def normalised_in_training_only() -> None:
    """Pixels are normalised in training and not in the test."""
    plain = train.scale_pixels
    train.scale_pixels = lambda x, scale, dtype: plain(x, "unit", dtype)


@fault()
def not_normalised() -> None:
    """Pixels are divided by 255 and never centred."""
    for module in (train, batches):
        plain = module.scale_pixels
        module.scale_pixels = lambda x, scale, dtype, plain=plain: plain(x, "unit", dtype)


@fault()
def mean_subtracted_twice() -> None:
    """The mean is taken off twice in training."""
    plain = batches.scale_pixels
    batches.scale_pixels = lambda x, scale, dtype: plain(x, scale, dtype) - 0.1307 / 0.3081


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
def labels_of_the_row_before() -> None:
    """Training images and labels are out of step by a row."""
    change_dataset(lambda d: dataclasses.replace(d, train_labels=d.train_labels.roll(1)))


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
    """The test images stand in the training set, in the place of others."""

    def change(dataset: Dataset) -> Dataset:
        images, labels = dataset.train_images.clone(), dataset.train_labels.clone()
        count = len(dataset.test_labels)
        images[:count], labels[:count] = dataset.test_images, dataset.test_labels
        return dataclasses.replace(dataset, train_images=images, train_labels=labels)

    change_dataset(change)


@fault()
def nines_missing() -> None:
    """The last class is left out of the training set."""

    def change(dataset: Dataset) -> Dataset:
        keep = dataset.train_labels < 9
        images, labels = dataset.train_images[keep], dataset.train_labels[keep]
        return dataclasses.replace(dataset, train_images=images, train_labels=labels)

    change_dataset(change)


@fault()
def trained_on_a_tenth() -> None:
    """Only the first tenth of the training images is seen."""
    plain = batches.training_slice
    batches.training_slice = lambda train, n: slice(0, plain(train, n).stop // 10)


@fault()
def test_images_transposed() -> None:
    """Rows and columns of the test images are exchanged."""
    change_dataset(lambda d: dataclasses.replace(d, test_images=d.test_images.transpose(1, 2)))


@fault()
def training_images_shifted_by_a_pixel() -> None:
    """Training images lie one pixel to the right of the test images."""
    change_dataset(lambda d: dataclasses.replace(d, train_images=d.train_images.roll(1, 2)))


@fault()
def flips_left_on() -> None:
    """Half of each batch is mirrored, as recipes for photographs do."""
    plain = batches.Batches.__call__

    def mirrored(self: Any, step: int) -> Any:
        x, y = plain(self, step)
        x[::2] = x[::2].flip(3)
        return x, y

    batches.Batches.__call__ = mirrored


@fault()
def last_batch_dropped() -> None:
    """The partial last batch of an epoch is dropped."""
    plain = batches.Batches.__init__

    def init(self: Any, *arguments: Any, **options: Any) -> None:
        plain(self, *arguments, **options)
        self.per_epoch = len(self.labels) // self.batch

    batches.Batches.__init__ = init


@fault()
def one_batch_for_all_steps() -> None:
    """Every batch is drawn with the same seed: all steps see the first one."""
    plain = batches.Batches.indices
    batches.Batches.indices = lambda self, step: plain(self, 0)


@fault()
def one_order_for_all_epochs() -> None:
    """The shuffle of each epoch has the seed of the first."""
    plain = batches.Batches.indices
    batches.Batches.indices = lambda self, step: plain(self, step % self.per_epoch)


@fault()
def half_of_every_batch() -> None:
    """Half of each batch is lost."""
    plain = batches.Batches.indices
    batches.Batches.indices = lambda self, step: plain(self, step)[: self.batch // 2]


@fault()
def batches_sorted_by_label() -> None:
    """The data are dealt out in the order of their labels."""

    def indices(self: Any, step: int) -> np.ndarray:
        order = np.argsort(self.labels.numpy(), kind="stable")
        start = step * self.batch % len(order)
        return np.asarray(np.roll(order, -start)[: self.batch])

    batches.Batches.indices = indices
