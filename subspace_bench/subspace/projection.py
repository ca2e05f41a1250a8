"""The projector of a Subspace, outside the module tree, θ's pieces, and zeros in them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from subspace_bench.common.errors import UserError
from subspace_bench.projectors import Projector, make


@dataclass
class CachedPieces:
    """θ cut into the shapes of the module's parameters, and the inputs that it depends on."""

    pieces: tuple[Tensor, ...]
    omega: Tensor
    version: int
    address: int
    values: Tensor | None  # a copy of ω on the CPU, where comparing is cheap
    origins: list[Tensor]
    origin_versions: list[tuple[int, int, int]]
    theta_version: int | None
    differentiable: bool
    inference: bool


class ProjectorHandle:
    """Holds P outside the module tree: P follows from (D, d, seed), so it is not state.

    Copies of a Subspace share it; a pickle has the recipe to recreate it.
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
        if device.type != "meta":  # a copy on meta has no values
            self.projector = moved
        return moved

    def __deepcopy__(self, memo: dict[int, Any]) -> ProjectorHandle:
        return ProjectorHandle(self.projector, self.recipe)

    def __reduce__(self) -> Any:
        return ProjectorHandle, (None if self.recipe else self.projector, self.recipe)


def make_handle(
    projector: str | Projector, native: int, dim: int, seed: int, layers: list[int]
) -> ProjectorHandle:
    if isinstance(projector, str):
        recipe = {"name": projector, "native": native, "dim": dim, "seed": seed, "layers": layers}
        return ProjectorHandle(None, recipe)
    if (projector.native, projector.dim) != (native, dim):
        raise UserError(
            f"the projector maps R^{projector.dim} to R^{projector.native}, "
            f"but the module and dim need R^{dim} to R^{native}"
        )
    return ProjectorHandle(projector, None)


class ZeroPositions(torch.autograd.Function):
    """Sets positions of a vector to zero. Saves no tensor, so θ's graph can be used twice."""

    generate_vmap_rule = True

    @staticmethod
    def forward(vector: Tensor, index: Tensor) -> Tensor:
        return vector.index_fill(-1, index, 0.0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.index = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ZeroPositions.apply(grad, ctx.index), None
