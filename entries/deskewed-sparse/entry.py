"""Deskewed images and a net like the post's, twice as wide, with d weights that are not zero."""

import functools

import torch
from torch import Tensor, nn

from entries.oriented import Behind, deskew
from entries.packed import Sparse
from entries.penalty import l1
from entries.training import BATCH, he_normal, shift
from subspace_bench.models.layers import ConvPoolRelu

WIDTHS = (20, 40, 64)
EPOCHS = 30
PEAK = 0.004
PART = 1_000  # images that are deskewed at a time


def build(dim: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    a, b, c = WIDTHS
    net = nn.Sequential(
        ConvPoolRelu(1, a, 5), ConvPoolRelu(a, b, 5),
        nn.Flatten(), nn.Linear(16 * b, c), nn.ReLU(), nn.Linear(c, 10),
    )  # fmt: skip
    he_normal(net)
    return Behind(deskew, Sparse(net, dim))


def train(net: nn.Module, images: Tensor, labels: Tensor, seed: int) -> None:
    assert isinstance(net, Behind)
    sparse = net.inner
    assert isinstance(sparse, Sparse)
    straight = torch.cat([deskew(part) for part in torch.split(images, PART)])
    steps = EPOCHS * (len(images) // BATCH)
    sparse.fit(
        straight, labels, seed, epochs=EPOCHS, peak=PEAK,
        augment=functools.partial(shift, pixels=1),
        after_gradient=l1(sparse.net.parameters(), len(sparse.packed), steps),
    )  # fmt: skip
