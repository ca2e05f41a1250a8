"""Pixels, edges and three convolutions with d weights that are not zero."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from entries.joined import augmented, convolutions, joined
from entries.oriented import Behind
from entries.packed import Sparse
from entries.penalty import l1
from entries.training import BATCH

EPOCHS = 40
PEAK = 0.004
SMOOTHING = 0.05  # of the labels


def build(dim: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return Behind(joined, Sparse(convolutions(), dim))


def train(net: nn.Module, images: Tensor, labels: Tensor, seed: int) -> None:
    assert isinstance(net, Behind)
    sparse = net.inner
    assert isinstance(sparse, Sparse)
    steps = EPOCHS * (len(images) // BATCH)
    sparse.fit(
        images, (1 - SMOOTHING) * F.one_hot(labels, 10) + SMOOTHING / 10, seed,
        epochs=EPOCHS, peak=PEAK, augment=augmented,
        after_gradient=l1(sparse.net.parameters(), len(sparse.packed), steps),
    )  # fmt: skip
