"""Fashion-MNIST, the post's net: `post-chosen`, unchanged."""

import torch
from torch import Tensor, nn

from entries.packed import Chosen
from entries.training import he_normal
from subspace_bench import Subspace, models

EPOCHS = 20
PEAK = 0.1
STAGES = 50
CHOOSE_UNTIL = 0.7


def build(dim: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = models.build("conv-plain")
    he_normal(net)
    every = models.parameter_count(net)
    return Chosen(Subspace(net, every, projector="fastfood", seed=seed), dim)


def train(net: nn.Module, images: Tensor, labels: Tensor, seed: int) -> None:
    assert isinstance(net, Chosen)
    net.fit(
        images, labels, seed,
        epochs=EPOCHS, peak=PEAK, stages=STAGES, choose_until=CHOOSE_UNTIL,
    )  # fmt: skip
