"""The post's net with d weights that are not zero: pruned while it trains."""

import functools

import torch
from torch import Tensor, nn

from entries.packed import Sparse
from entries.training import he_normal, shift
from subspace_bench import models

EPOCHS = 30
PEAK = 0.008
PIXELS = 0


def build(dim: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = models.build("conv-plain")
    he_normal(net)
    return Sparse(net, dim)


def train(net: nn.Module, images: Tensor, labels: Tensor, seed: int) -> None:
    assert isinstance(net, Sparse)
    augment = functools.partial(shift, pixels=PIXELS) if PIXELS else None
    net.fit(images, labels, seed, epochs=EPOCHS, peak=PEAK, augment=augment)
