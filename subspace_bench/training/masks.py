"""Layers that are given their dropout masks, so that nets trained together can each have their own.

The masks are those that the layers of a net alone draw, from the same random stream.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from subspace_bench.common.rng import seed_torch
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


class DropoutMasks:
    """The masks of N runs, drawn in place step by step, each run's from its own stream.

    On CUDA the draws of one run are a graph: without it, their launches take the host longer than
    the step takes the device.

    Arguments:
        module: as `with_masks` returns it.
        seeds: one a run.
        x: a batch (N, B, …).

    Attributes:
        masks: layer's mask → (N, B, …).
    """

    def __init__(self, module: nn.Module, seeds: Sequence[int], x: Tensor) -> None:
        layers = {name: part for name, part in module.named_modules()
                  if isinstance(part, (MaskedDropout, MaskedConvPoolRelu))}  # fmt: skip
        shapes = input_shapes(module, layers, x[0]) if layers else {}
        self.layers = {name: layers[name] for name in shapes}  # in the order in which they run
        self.sizes = {name: torch.Size((x.shape[1], *shape)) for name, shape in shapes.items()}
        self.module, self.seeds, self.like = module, list(seeds), x
        module.train()
        self.one = self.draw_one()
        self.masks = {f"{name}.mask": mask.new_empty(len(seeds), *mask.shape)
                      for name, mask in self.one.items()}  # fmt: skip
        self.graph: torch.cuda.CUDAGraph | None = None
        if layers and x.is_cuda:
            self.record()

    def draw_one(self) -> dict[str, Tensor]:
        """The masks of one run from the current state of torch's generator."""
        return {name: layer.draw(self.sizes[name], self.like)
                for name, layer in self.layers.items()}  # fmt: skip

    def record(self) -> None:
        """Records the draws of one run, and checks that a replay draws the same."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            one = self.draw_one()
        seed_torch(0, "dropout")
        expected = self.draw_one()
        seed_torch(0, "dropout")
        graph.replay()
        if not all(torch.equal(one[name], mask) for name, mask in expected.items()):
            raise RuntimeError("a CUDA graph draws other dropout masks than the layers")
        self.graph, self.one = graph, one

    def draw(self, step: int) -> dict[str, Tensor]:
        """The masks of a step, which stay until the next call."""
        if not self.layers:
            return {}
        self.module.train()  # scoring ends it
        for i, seed in enumerate(self.seeds):
            seed_torch(seed, "dropout", step)
            if self.graph:
                self.graph.replay()
            one = self.one if self.graph else self.draw_one()
            for name, mask in one.items():
                self.masks[f"{name}.mask"][i].copy_(mask)
        return self.masks


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
