"""The P of a Subspace, kept outside the module tree, and zeros where θ must not move."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from subspace_bench.common.errors import UserError
from subspace_bench.projectors import Projector, make


class ProjectorHandle:
    """P, outside of the module tree: a function of (D, d, seed) is nobody's state.

    Copies of a Subspace share it; a pickle holds what makes it again.
    """

    def __init__(self, projector: Projector | None, recipe: dict[str, Any] | None) -> None:
        self.projector, self.recipe = projector, recipe

    def on(self, device: torch.device) -> Projector:
        """The projector on this device."""
        if self.projector is None:
            assert self.recipe is not None
            self.projector = make(**self.recipe)
        buffer = next(self.projector.buffers(), None)
        if buffer is None or buffer.device == device:
            return self.projector
        moved = copy.deepcopy(self.projector).to(device)
        if device.type != "meta":  # where P's numbers would be lost
            self.projector = moved
        return moved

    def __deepcopy__(self, memo: dict[int, Any]) -> ProjectorHandle:
        return ProjectorHandle(self.projector, self.recipe)

    def __reduce__(self) -> Any:
        return ProjectorHandle, (None if self.recipe else self.projector, self.recipe)


def hold_projector(
    projector: str | Projector, native: int, dim: int, seed: int, layers: list[int]
) -> ProjectorHandle:
    if isinstance(projector, str):
        recipe = {"name": projector, "native": native, "dim": dim, "seed": seed, "layers": layers}
        return ProjectorHandle(None, recipe)
    if (projector.native, projector.dim) != (native, dim):
        raise UserError(
            f"the projector given maps R^{projector.dim} to R^{projector.native}, "
            f"but the module and dim ask for R^{dim} to R^{native}"
        )
    return ProjectorHandle(projector, None)


class Zeroed(torch.autograd.Function):
    """A vector with zeros at some positions. Saves no tensor, so that θ's graph can serve twice."""

    generate_vmap_rule = True

    @staticmethod
    def forward(vector: Tensor, index: Tensor) -> Tensor:
        return vector.index_fill(-1, index, 0.0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.index = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return Zeroed.apply(grad, ctx.index), None
