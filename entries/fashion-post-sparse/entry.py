"""Fashion-MNIST, the post's net: `post-sparse`, unchanged."""

import functools

import torch
from torch import Tensor, nn

from entries.packed import Sparse
from entries.penalty import l1
from entries.training import BATCH, he_normal, shift
from subspace_bench import models

EPOCHS = 30
PEAK = 0.004


def build(dim: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = models.build("conv-plain")
    he_normal(net)
    return Sparse(net, dim)


def train(net: nn.Module, images: Tensor, labels: Tensor, seed: int) -> None:
    assert isinstance(net, Sparse)
    penalty = l1(net.net.parameters(), len(net.packed), EPOCHS * (len(images) // BATCH))
    net.fit(
        images, labels, seed, epochs=EPOCHS, peak=PEAK,
        augment=functools.partial(shift, pixels=1), after_gradient=penalty,
    )  # fmt: skip
