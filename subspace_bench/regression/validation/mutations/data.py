"""Mutations of the data: files, pixels, labels, batches."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from subspace_bench.datasets.dataset import Dataset
from subspace_bench.regression.validation.mutations import mutation
from subspace_bench.regression.validation.patching import batches, loop, patch_dataset


@mutation()
def normalised_in_training_only() -> None:
    """Pixels are normalised in training but not in the test."""
    original = loop.scale_pixels
    loop.scale_pixels = lambda x, scale, dtype: original(x, "unit", dtype)


@mutation()
def not_normalised() -> None:
    """Pixels are divided by 255 but not centred."""
    for module in (loop, batches):
        original = module.scale_pixels
        module.scale_pixels = lambda x, scale, dtype, original=original: original(x, "unit", dtype)


@mutation()
def mean_subtracted_twice() -> None:
    """The mean is subtracted twice in training."""
    original = batches.scale_pixels
    batches.scale_pixels = lambda x, scale, dtype: original(x, scale, dtype) - 0.1307 / 0.3081


def shift_labels(every: int) -> None:
    def change(dataset: Dataset) -> Dataset:
        labels = dataset.train_labels.clone()
        labels[::every] = (labels[::every] + 1) % 10
        return dataclasses.replace(dataset, train_labels=labels)

    patch_dataset(change)


@mutation()
def labels_shifted_in_1_percent() -> None:
    """1% of the training rows have the label of the next class."""
    shift_labels(100)


@mutation()
def labels_shifted_in_a_500th() -> None:
    """0.2% of the training rows have the label of the next class."""
    shift_labels(500)


@mutation()
def labels_shifted_in_a_tenth() -> None:
    """10% of the training rows have the label of the next class."""
    shift_labels(10)


@mutation()
def labels_of_the_row_before() -> None:
    """Training images get the labels of the row before."""
    patch_dataset(lambda d: dataclasses.replace(d, train_labels=d.train_labels.roll(1)))


@mutation()
def test_labels_shifted_in_1_percent() -> None:
    """1% of the test rows have the label of the next class."""

    def change(dataset: Dataset) -> Dataset:
        labels = dataset.test_labels.clone()
        labels[::100] = (labels[::100] + 1) % 10
        return dataclasses.replace(dataset, test_labels=labels)

    patch_dataset(change)


@mutation()
def test_images_in_training() -> None:
    """The test images replace as many images of the training set."""

    def change(dataset: Dataset) -> Dataset:
        images, labels = dataset.train_images.clone(), dataset.train_labels.clone()
        count = len(dataset.test_labels)
        images[:count], labels[:count] = dataset.test_images, dataset.test_labels
        return dataclasses.replace(dataset, train_images=images, train_labels=labels)

    patch_dataset(change)


@mutation()
def nines_missing() -> None:
    """The last class is left out of the training set."""

    def change(dataset: Dataset) -> Dataset:
        keep = dataset.train_labels < 9
        images, labels = dataset.train_images[keep], dataset.train_labels[keep]
        return dataclasses.replace(dataset, train_images=images, train_labels=labels)

    patch_dataset(change)


@mutation()
def trained_on_a_tenth() -> None:
    """Only the first tenth of the training images is used."""
    original = batches.training_slice
    batches.training_slice = lambda train, n: slice(0, original(train, n).stop // 10)


@mutation()
def test_images_transposed() -> None:
    """Rows and columns of the test images are exchanged."""
    patch_dataset(lambda d: dataclasses.replace(d, test_images=d.test_images.transpose(1, 2)))


@mutation()
def training_images_shifted_by_a_pixel() -> None:
    """Training images are shifted one pixel to the right of the test images."""
    patch_dataset(lambda d: dataclasses.replace(d, train_images=d.train_images.roll(1, 2)))


@mutation()
def flips_left_on() -> None:
    """Half of each batch is mirrored, as recipes for photographs do."""
    original = batches.Batches.__call__

    def mirrored(self: Any, step: int) -> Any:
        x, y = original(self, step)
        x[::2] = x[::2].flip(3)
        return x, y

    batches.Batches.__call__ = mirrored


@mutation()
def last_batch_dropped() -> None:
    """The partial last batch of an epoch is dropped."""
    original = batches.Batches.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.per_epoch = len(self.labels) // self.batch

    batches.Batches.__init__ = init


@mutation()
def one_batch_for_all_steps() -> None:
    """Every batch is drawn with the same seed: all steps see the first one."""
    original = batches.Batches.indices
    batches.Batches.indices = lambda self, step: original(self, 0)


@mutation()
def one_order_for_all_epochs() -> None:
    """The shuffle of each epoch has the seed of the first."""
    original = batches.Batches.indices
    batches.Batches.indices = lambda self, step: original(self, step % self.per_epoch)


@mutation()
def half_of_every_batch() -> None:
    """Half of each batch is lost."""
    original = batches.Batches.indices
    batches.Batches.indices = lambda self, step: original(self, step)[: self.batch // 2]


@mutation()
def batches_sorted_by_label() -> None:
    """Batches are drawn in the order of the labels."""

    def indices(self: Any, step: int) -> np.ndarray:
        order = np.argsort(self.labels.numpy(), kind="stable")
        start = step * self.batch % len(order)
        return np.asarray(np.roll(order, -start)[: self.batch])

    batches.Batches.indices = indices
