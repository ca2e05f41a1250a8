"""Training images of which a part is held out, to choose learning rates, and test images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from subspace_bench.datasets.dataset import Dataset

HELD_OUT = 10_000

Images = tuple[Tensor, Tensor]  # (n, 784) pixels from 0 to 1, and labels (n,)


@dataclass(frozen=True)
class Split:
    """Images to train on, held out (the last 10,000, or a fifth of the training set), and test."""

    name: str
    train: Images
    held_out: Images
    test: Images


def split(dataset: Dataset) -> Split:
    """Divides the training images of a dataset."""
    cut = len(dataset.train_labels) - min(HELD_OUT, len(dataset.train_labels) // 5)
    images, labels = pixels(dataset.train_images), dataset.train_labels
    return Split(
        dataset.name,
        (images[:cut], labels[:cut]),
        (images[cut:], labels[cut:]),
        (pixels(dataset.test_images), dataset.test_labels),
    )


def pixels(images: Tensor) -> Tensor:
    """uint8 (n, 28, 28) → float32 (n, 784), from 0 to 1."""
    return images.flatten(1).float().div_(255)


def batches(size: int, batch: int, epochs: int, seed: int) -> Iterator[Tensor]:
    """Positions of each batch: parts of one permutation per epoch, without a partial last one."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(size, generator=generator)
        yield from torch.split(order[: size // batch * batch], batch)
