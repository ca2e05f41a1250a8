"""The rival without a subspace: four convolutions as wide as d parameters allow, and pooling."""

import functools

import torch
from torch import Tensor, nn

from entries.oriented import Behind, oriented
from entries.training import fit, he_normal
from subspace_bench import models

CELL, STRIDE = 4, 2
EPOCHS = 30
PEAK = 0.02


def pooled(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(8, width, 3, padding=1), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
        nn.Conv2d(width, width, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10),
    )  # fmt: skip


def build(dim: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    width = 1
    while models.parameter_count(pooled(width + 1)) <= dim:
        width += 1
    net = pooled(width)
    he_normal(net)
    return Behind(functools.partial(oriented, cell=CELL, stride=STRIDE), net)


def train(net: nn.Module, images: Tensor, labels: Tensor, seed: int) -> None:
    assert isinstance(net, Behind)
    parameters: list[Tensor] = list(net.inner.parameters())
    fit(net.inner, parameters, net.front(images), labels, seed, epochs=EPOCHS, peak=PEAK)
