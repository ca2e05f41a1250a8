"""A small net of 3 × 3 convolutions without a subspace; BatchNorm in training only.

After training, each BatchNorm is folded into the convolution before it: its scale and shift are not
stored.
"""

import functools
import itertools

import torch
from torch import Tensor, nn

from entries.training import affine, fit, he_normal
from entries.widths import widest

EPOCHS = 30
PEAK = 0.02
DEGREES, SCALE = 10.0, 0.1


def convolutions(width: int) -> nn.Sequential:
    """28 × 28 → 26 → 24 → pool 12 → 10 → 8 → 6 → mean → 10 classes; 36w² + 25w + 10 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3), nn.ReLU(),
        nn.Conv2d(width, width, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(width, width, 3), nn.ReLU(),
        nn.Conv2d(width, width, 3), nn.ReLU(),
        nn.Conv2d(width, width, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10),
    )  # fmt: skip


def build(dim: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = widest(convolutions, dim)
    he_normal(net)
    return net.to(memory_format=torch.channels_last)


def train(net: nn.Module, images: Tensor, labels: Tensor, seed: int) -> None:
    assert isinstance(net, nn.Sequential)
    layers: list[nn.Module] = []
    for layer in net:
        layers.append(layer)
        if isinstance(layer, nn.Conv2d):
            layers.append(nn.BatchNorm2d(layer.out_channels, device=images.device))
    normalised = nn.Sequential(*layers)
    augment = functools.partial(affine, degrees=DEGREES, scale=SCALE)
    parameters: list[Tensor] = list(normalised.parameters())
    fit(normalised, parameters, images, labels, seed, epochs=EPOCHS, peak=PEAK, augment=augment)
    for convolution, norm in itertools.pairwise(layers):
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            fold(convolution, norm)


@torch.no_grad()
def fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Makes the convolution compute what both compute in evaluation."""
    assert convolution.bias is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    convolution.weight.mul_(scale[:, None, None, None])
    convolution.bias.sub_(norm.running_mean).mul_(scale).add_(norm.bias)
