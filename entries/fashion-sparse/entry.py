"""Fashion-MNIST: convolutions on edges without deskewing, with d weights that are not zero."""

import torch
from torch import Tensor, nn

from entries.oriented import Behind, oriented
from entries.packed import Sparse
from entries.penalty import l1
from entries.training import BATCH, he_normal, shift

CELL, STRIDE = 4, 2
WIDTHS, POOLED = (16, 32, 64), 4
EPOCHS = 20
PEAK = 0.004


def build(dim: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    a, b, c = WIDTHS
    net = nn.Sequential(
        nn.Conv2d(8, a, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(a, b, 3, padding=1), nn.ReLU(),
        nn.Conv2d(b, c, 3), nn.ReLU(), nn.Flatten(), nn.Linear(c * POOLED**2, 10),
    )  # fmt: skip
    he_normal(net)
    return Behind(edges, Sparse(net, dim))


def edges(images: Tensor) -> Tensor:
    return oriented(images, cell=CELL, stride=STRIDE, deskewed=False)


def augmented(images: Tensor, random: torch.Generator) -> Tensor:
    """Edges of images that were moved by up to a pixel; every other one is mirrored."""
    mirrored = torch.rand(len(images), 1, 1, 1, generator=random) < 0.5
    return edges(shift(torch.where(mirrored.to(images.device), images.flip(3), images), random))


def train(net: nn.Module, images: Tensor, labels: Tensor, seed: int) -> None:
    assert isinstance(net, Behind)
    sparse = net.inner
    assert isinstance(sparse, Sparse)
    steps = EPOCHS * (len(images) // BATCH)
    sparse.fit(
        images, labels, seed, epochs=EPOCHS, peak=PEAK, augment=augmented,
        after_gradient=l1(sparse.net.parameters(), len(sparse.packed), steps),
    )  # fmt: skip
