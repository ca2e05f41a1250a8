"""Fashion-MNIST: a net like the post's, twice as wide, with d weights that are not zero."""

import functools

import torch
from torch import Tensor, nn

from entries.packed import Sparse
from entries.penalty import l1
from entries.training import BATCH, he_normal, shift
from subspace_bench.models.layers import ConvPoolRelu

WIDTHS = (20, 40, 64)
EPOCHS = 30
PEAK = 0.004


def build(dim: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    a, b, c = WIDTHS
    net = nn.Sequential(
        ConvPoolRelu(1, a, 5), ConvPoolRelu(a, b, 5),
        nn.Flatten(), nn.Linear(16 * b, c), nn.ReLU(), nn.Linear(c, 10),
    )  # fmt: skip
    he_normal(net)
    return Sparse(net, dim)


def train(net: nn.Module, images: Tensor, labels: Tensor, seed: int) -> None:
    assert isinstance(net, Sparse)
    steps = EPOCHS * (len(images) // BATCH)
    net.fit(
        images, labels, seed, epochs=EPOCHS, peak=PEAK,
        augment=functools.partial(shift, pixels=1),
        after_gradient=l1(net.net.parameters(), len(net.packed), steps),
    )  # fmt: skip
