"""Oriented gradients, two convolutions and two dense layers in a hashed subspace."""

import functools

import torch
from torch import Tensor, nn

from entries.oriented import Behind, augmented, oriented
from entries.training import fit, he_normal
from subspace_bench import Subspace

CELL, STRIDE, POOLED = 4, 2, 6
WIDTHS = (16, 32, 64)
EPOCHS = 30
PEAK = 0.2
DEGREES, SCALE = 10.0, 0.1


def build(dim: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    a, b, c = WIDTHS
    net = nn.Sequential(
        nn.Conv2d(8, a, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(b * POOLED**2, c), nn.ReLU(), nn.Linear(c, 10),
    )  # fmt: skip
    he_normal(net)
    front = functools.partial(oriented, cell=CELL, stride=STRIDE)
    return Behind(front, Subspace(net, dim, seed=seed))


def train(net: nn.Module, images: Tensor, labels: Tensor, seed: int) -> None:
    assert isinstance(net, Behind)
    subspace = net.inner
    assert isinstance(subspace, Subspace)
    front = functools.partial(augmented, cell=CELL, stride=STRIDE, degrees=DEGREES, scale=SCALE)
    fit(subspace, [subspace.omega], images, labels, seed, epochs=EPOCHS, peak=PEAK, augment=front)
