"""Mutations of the networks: layers and initialisation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from subspace_bench.regression.validation.mutations import CONVOLUTIONS, LITE, NO_DROPOUT, mutation
from subspace_bench.regression.validation.patching import (
    initialization,
    layers,
    loop,
    models,
    patch_model,
)


@mutation()
def relu_missing() -> None:
    """ReLUs between dense layers are missing."""

    def change(module: nn.Module) -> None:
        for key, layer in list(module.named_children()):
            if isinstance(layer, nn.ReLU):
                setattr(module, key, nn.Identity())

    patch_model(change)


@mutation(CONVOLUTIONS)
def relu_missing_after_convolutions() -> None:
    """Convolutions are pooled without a ReLU."""

    def change(module: nn.Module) -> None:
        for layer in module.modules():
            if isinstance(layer, layers.ConvPoolRelu):
                layer.relu = False

    patch_model(change)


@mutation(CONVOLUTIONS)
def pooled_by_the_mean() -> None:
    """Convolutions are pooled by the mean instead of the maximum."""

    def forward(
        x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor | None, relu: bool = True
    ) -> Tensor:
        y = F.conv2d(x, weight, bias)
        if scale is not None:
            y = y * scale[:, :, None, None]
        return F.relu(F.avg_pool2d(y, 2))

    layers.conv_pool_relu = forward


def set_dropout(module: nn.Module, probability: float) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Dropout) and layer.p:
            layer.p = probability
        elif isinstance(layer, layers.ConvPoolRelu) and layer.dropout2d:
            layer.dropout2d = probability


@mutation((LITE,))
def dropout_missing() -> None:
    """Dropout is missing."""
    patch_model(lambda module: set_dropout(module, 0.0))


@mutation((LITE,))
def dropout_of_80_percent() -> None:
    """The dropout rate is 80% instead of 50%."""
    patch_model(lambda module: set_dropout(module, 0.8))


@mutation((LITE,))
def dropout_not_scaled() -> None:
    """Dropout does not rescale the activations that it keeps."""
    original = layers.ConvPoolRelu.channel_scale

    def channel_scale(self: Any, x: Tensor) -> Tensor | None:
        scale = original(self, x)
        return None if scale is None else scale * (1 - self.dropout2d)

    def unscaled(module: Any, _: Any, y: Tensor) -> Tensor:
        return y * (1 - module.p) if module.training else y

    def change(module: nn.Module) -> None:
        for layer in module.modules():
            if isinstance(layer, nn.Dropout) and layer.p:
                layer.register_forward_hook(unscaled)

    layers.ConvPoolRelu.channel_scale = channel_scale
    patch_model(change)


@mutation(NO_DROPOUT)
def dropout_added() -> None:
    """A network without dropout gets a dropout of 50%."""
    models.MODELS["conv-plain"] = models.MODELS["conv"]


@mutation()
def initialised_by_torch() -> None:
    """θ_init follows PyTorch's default, which is smaller than He's."""
    loop.initialise = lambda module, scheme, rng: models.initialise(module, "default", rng)


@mutation()
def initialised_by_fan_out() -> None:
    """He's bound uses fan-out instead of fan-in."""

    def initialise(module: nn.Module, scheme: str, rng: Any) -> None:
        original = initialization.fans
        initialization.fans = lambda weight: original(weight)[::-1]
        try:
            models.initialise(module, scheme, rng)
        finally:
            initialization.fans = original

    loop.initialise = initialise


@mutation()
def initialised_too_small() -> None:
    """θ_init is N(0, 0.005²)."""
    loop.initialise = lambda module, scheme, rng: models.initialise(module, "normal:0.005", rng)


@mutation()
def initialised_with_zero_weights() -> None:
    """All weights start at zero."""
    loop.initialise = lambda module, scheme, rng: models.initialise(module, "zeros", rng)


@mutation()
def neurons_begin_alike() -> None:
    """All neurons of a layer start with the same weights."""

    def initialise(module: nn.Module, scheme: str, rng: Any) -> None:
        models.initialise(module, scheme, rng)
        with torch.no_grad():
            for p in module.parameters():
                p.copy_(p[:1].expand_as(p).clone())

    loop.initialise = initialise
