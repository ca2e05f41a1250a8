"""A hashed subspace of the post's net, in the recommended scaling."""

import functools

import torch
from torch import Tensor, nn

from entries.training import fit, he_normal, shift
from subspace_bench import Subspace, models

EPOCHS = 30
PEAK = 0.2


def build(dim: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = models.build("conv-plain")
    he_normal(net)
    return Subspace(net, dim, seed=seed)


def train(net: nn.Module, images: Tensor, labels: Tensor, seed: int) -> None:
    assert isinstance(net, Subspace)
    few = len(net.omega) < 3_000
    augment = None if few else functools.partial(shift, pixels=1)
    fit(net, [net.omega], images, labels, seed, epochs=EPOCHS, peak=PEAK, augment=augment)
