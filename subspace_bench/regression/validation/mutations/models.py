"""What is trained: layers and their first values."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from subspace_bench.regression.validation.mutations import CONVOLUTIONS, LITE, PLAIN, fault
from subspace_bench.regression.validation.patching import change_net

initial: Any = import_module("subspace_bench.models.initialization")
layers: Any = import_module("subspace_bench.models.layers")
models: Any = import_module("subspace_bench.models")
train: Any = import_module("subspace_bench.training.loop")


@fault()
def relu_missing() -> None:
    """The nets lack their relus between dense layers."""

    def change(net: nn.Module) -> None:
        for key, part in list(net.named_children()):
            if isinstance(part, nn.ReLU):
                setattr(net, key, nn.Identity())

    change_net(change)


@fault(CONVOLUTIONS)
def relu_missing_after_convolutions() -> None:
    """Convolutions are pooled without a relu."""

    def change(net: nn.Module) -> None:
        for part in net.modules():
            if isinstance(part, layers.ConvPoolRelu):
                part.relu = False

    change_net(change)


@fault(CONVOLUTIONS)
def pooled_by_the_mean() -> None:
    """Convolutions are pooled by the mean where it should be the maximum."""

    def forward(
        x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor | None, relu: bool = True
    ) -> Tensor:
        y = F.conv2d(x, weight, bias)
        if scale is not None:
            y = y * scale[:, :, None, None]
        return F.relu(F.avg_pool2d(y, 2))

    layers.conv_pool_relu = forward


def set_dropout(net: nn.Module, probability: float) -> None:
    for part in net.modules():
        if isinstance(part, nn.Dropout) and part.p:
            part.p = probability
        elif isinstance(part, layers.ConvPoolRelu) and part.dropout2d:
            part.dropout2d = probability


@fault((LITE,))
def dropout_missing() -> None:
    """Nothing is dropped in training."""
    change_net(lambda net: set_dropout(net, 0.0))


@fault((LITE,))
def dropout_of_80_percent() -> None:
    """80% is dropped where it should be half."""
    change_net(lambda net: set_dropout(net, 0.8))


@fault((LITE,))
def dropout_not_scaled() -> None:
    """What dropout leaves is not divided by the share it leaves."""
    plain = layers.ConvPoolRelu.channel_scale

    def channel_scale(self: Any, x: Tensor) -> Tensor | None:
        scale = plain(self, x)
        return None if scale is None else scale * (1 - self.dropout2d)

    def unscaled(module: Any, _: Any, y: Tensor) -> Tensor:
        return y * (1 - module.p) if module.training else y

    def change(net: nn.Module) -> None:
        for part in net.modules():
            if isinstance(part, nn.Dropout) and part.p:
                part.register_forward_hook(unscaled)

    layers.ConvPoolRelu.channel_scale = channel_scale
    change_net(change)


@fault(PLAIN)
def dropout_added() -> None:
    """A net that should have none drops half of its features."""
    models.MODELS["conv-plain"] = models.MODELS["conv"]


@fault()
def initialised_by_torch() -> None:
    """θ_init is PyTorch's default, smaller than He's."""
    train.initialise = lambda module, scheme, rng: models.initialise(module, "default", rng)


@fault()
def initialised_by_fan_out() -> None:
    """He's bound is taken of the wrong side of each layer."""

    def initialise(module: nn.Module, scheme: str, rng: Any) -> None:
        plain = initial.fans
        initial.fans = lambda weight: plain(weight)[::-1]
        try:
            models.initialise(module, scheme, rng)
        finally:
            initial.fans = plain

    train.initialise = initialise


@fault()
def initialised_too_small() -> None:
    """θ_init is N(0, 0.005²)."""
    train.initialise = lambda module, scheme, rng: models.initialise(module, "normal:0.005", rng)


@fault()
def initialised_with_zero_weights() -> None:
    """All weights start at zero."""
    train.initialise = lambda module, scheme, rng: models.initialise(module, "zeros", rng)


@fault()
def neurons_begin_alike() -> None:
    """All neurons of a layer begin with the same weights."""

    def initialise(module: nn.Module, scheme: str, rng: Any) -> None:
        models.initialise(module, scheme, rng)
        with torch.no_grad():
            for p in module.parameters():
                p.copy_(p[:1].expand_as(p).clone())

    train.initialise = initialise
