"""Fashion-MNIST: `oriented-chosen` without deskewing, which costs accuracy on clothes."""

import functools

import torch
from torch import Tensor, nn

from entries.oriented import Behind, oriented
from entries.packed import COLUMNS, Chosen
from entries.training import he_normal
from subspace_bench import Subspace

CELL, STRIDE, CELLS = 8, 4, 6
WIDTH = 1_000
EPOCHS = 20
PEAK = 0.1
STAGES = 50
CHOOSE_UNTIL = 0.7


def build(dim: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(8 * CELLS**2, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10)
    )
    he_normal(net)
    chosen = Chosen(Subspace(net, COLUMNS, projector="fastfood", seed=seed), dim)
    front = functools.partial(oriented, cell=CELL, stride=STRIDE, deskewed=False)
    return Behind(front, chosen)


def train(net: nn.Module, images: Tensor, labels: Tensor, seed: int) -> None:
    assert isinstance(net, Behind)
    chosen = net.inner
    assert isinstance(chosen, Chosen)
    chosen.fit(
        net.front(images), labels, seed,
        epochs=EPOCHS, peak=PEAK, stages=STAGES, choose_until=CHOOSE_UNTIL,
    )  # fmt: skip
