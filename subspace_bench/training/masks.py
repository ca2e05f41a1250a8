"""Layers that are given their dropout masks, so that nets trained together can each have their own.

The masks are those that the layers of a net alone draw, from the same random stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from subspace_bench.models import ConvPoolRelu


class MaskedDropout(nn.Module):
    """Dropout by a given mask of 0 and 1/(1 − p)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.register_buffer("mask", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.get_buffer("mask") if self.training else x

    def draw(self, shape: torch.Size, like: Tensor) -> Tensor:
        """The mask that `nn.Dropout` draws for an input of this shape."""
        return F.dropout(like.new_ones(shape), self.p)


class MaskedConvPoolRelu(ConvPoolRelu):
    """`ConvPoolRelu` with a given mask of its channels."""

    def __init__(
        self, cin: int, cout: int, kernel: int, dropout2d: float, relu: bool, padding: int
    ) -> None:
        super().__init__(cin, cout, kernel, dropout2d, relu, padding)
        self.register_buffer("mask", torch.ones(()))

    def channel_scale(self, x: Tensor) -> Tensor | None:
        return self.get_buffer("mask") if self.training else None

    def draw(self, shape: torch.Size, like: Tensor) -> Tensor:
        """The mask of `ConvPoolRelu` for a batch of this shape."""
        mask = ConvPoolRelu.channel_scale(self, like.new_empty(shape[:1]))
        assert mask is not None
        return mask


def with_masks(module: nn.Module) -> nn.Module:
    """The module with layers that are given their dropout masks; its parameters are in order."""
    for name, part in list(module.named_children()):
        if isinstance(part, nn.Dropout) and part.p:
            setattr(module, name, MaskedDropout(part.p))
        elif isinstance(part, ConvPoolRelu) and part.dropout2d:
            cout, cin, kernel, _ = part.weight.shape
            options = part.dropout2d, part.relu, part.padding
            layer = MaskedConvPoolRelu(cin, cout, kernel, *options).to(part.weight)
            setattr(module, name, layer)
        else:
            with_masks(part)
    return module


def input_shapes(
    module: nn.Module, layers: Mapping[str, nn.Module], x: Tensor
) -> dict[str, torch.Size]:
    """The shape of one image's input to each layer, in the order in which they run."""
    shapes: dict[str, torch.Size] = {}

    def note(name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        shapes[name] = inputs[0].shape[1:]

    hooks = [layer.register_forward_pre_hook(partial(note, name)) for name, layer in layers.items()]
    module.eval()
    with torch.no_grad():
        module(x[:1])
    for hook in hooks:
        hook.remove()
    return shapes
