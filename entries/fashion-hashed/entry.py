"""Fashion-MNIST: oriented gradients without deskewing, and a dense net in a hashed subspace."""

import functools

import torch
from torch import Tensor, nn

from entries.oriented import Behind, oriented
from entries.training import fit, he_normal
from subspace_bench import Subspace

CELL, STRIDE, CELLS = 8, 4, 6
WIDTH = 1_000
EPOCHS = 30
PEAK = 0.2


def build(dim: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(8 * CELLS**2, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10)
    )
    he_normal(net)
    front = functools.partial(oriented, cell=CELL, stride=STRIDE, deskewed=False)
    return Behind(front, Subspace(net, dim, seed=seed))


def train(net: nn.Module, images: Tensor, labels: Tensor, seed: int) -> None:
    assert isinstance(net, Behind)
    subspace = net.inner
    assert isinstance(subspace, Subspace)
    fit(subspace, [subspace.omega], net.front(images), labels, seed, epochs=EPOCHS, peak=PEAK)
