"""Training images of which a part is held out, to choose learning rates, and test images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from subspace_bench.datasets.dataset import Dataset

HELD_OUT = 10_000

Images = tuple[Tensor, Tensor]  # (n, …) prepared images, and labels (n,)


@dataclass(frozen=True)
class Split:
    """Images to train on, held out (the last 10,000, or a fifth of the training set), and test."""

    name: str
    train: Images
    held_out: Images
    test: Images


def trained_on(dataset: Dataset) -> int:
    """How many of the training images are not held out; they come first."""
    count = len(dataset.train_labels)
    return count - min(HELD_OUT, count // 5)


def pixels(images: Tensor) -> Tensor:
    """uint8 (n, 28, 28) → float32 (n, 784), from 0 to 1."""
    return images.flatten(1).float().div_(255)


def normalised(images: Tensor) -> Tensor:
    """uint8 (n, 28, 28) → float32 (n, 1, 28, 28), with MNIST's usual mean and deviation."""
    return normalise(images.float()[:, None] / 255)


def normalise(pixels: Tensor) -> Tensor:
    """Pixels from 0 to 1, less MNIST's usual mean, over its deviation."""
    return (pixels - 0.1307) / 0.3081


def split(dataset: Dataset, prepare: Callable[[Tensor], Tensor] = pixels) -> Split:
    """Divides the training images of a dataset."""
    cut = trained_on(dataset)
    images, labels = prepare(dataset.train_images), dataset.train_labels
    return Split(
        dataset.name,
        (images[:cut], labels[:cut]),
        (images[cut:], labels[cut:]),
        (prepare(dataset.test_images), dataset.test_labels),
    )


def batches(
    size: int, batch: int, epochs: int, seed: int, partial: bool = False
) -> Iterator[Tensor]:
    """Positions of each batch: parts of one permutation per epoch.

    Arguments:
        partial: whether an epoch ends with a smaller batch, or leaves out what remains.
    """
    generator = torch.Generator().manual_seed(seed)
    kept = size if partial else size // batch * batch
    for _ in range(epochs):
        yield from torch.split(torch.randperm(size, generator=generator)[:kept], batch)


@torch.no_grad()
def accuracy(net: nn.Module, scored: Images) -> float:
    """In %, in evaluation mode, which the net keeps."""
    net.eval()
    answers = torch.cat([net(part).argmax(1) for part in torch.split(scored[0], 1_000)])
    return 100 * int((answers == scored[1]).sum()) / len(answers)
