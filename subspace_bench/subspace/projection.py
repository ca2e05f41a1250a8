"""The projector of a Subspace, outside the module tree, θ's pieces, and zeros in them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from subspace_bench.common.errors import UserError
from subspace_bench.projectors import LinearMap, make
from subspace_bench.subspace.scaling import RowScaled


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

    def __init__(self, projector: LinearMap | None, recipe: Recipe | None) -> None:
        self.projector, self.recipe = projector, recipe

    def on(self, device: torch.device) -> LinearMap:
        """The projector on this device."""
        if self.projector is None:
            assert self.recipe is not None
            self.projector = self.recipe.make()
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


@dataclass(frozen=True)
class Recipe:
    """The arguments that recreate P.

    Attributes:
        sizes: of θ's parameters, in order.
        factors: of the rows of each parameter; None for 1.
    """

    name: str
    dim: int
    seed: int
    sizes: list[int]
    factors: list[float] | None

    def make(self) -> LinearMap:
        made = make(self.name, sum(self.sizes), self.dim, self.seed, layers=self.sizes)
        return made if self.factors is None else RowScaled(made, self.factors, self.sizes)


def make_handle(
    projector: str | LinearMap,
    dim: int,
    seed: int,
    sizes: list[int],
    factors: list[float] | None,
) -> ProjectorHandle:
    """The handle of a projector, given by name or as a map, with its rows scaled."""
    if isinstance(projector, str):
        return ProjectorHandle(None, Recipe(projector, dim, seed, sizes, factors))
    if (projector.native, projector.dim) != (sum(sizes), dim):
        raise UserError(
            f"the projector maps R^{projector.dim} to R^{projector.native}, "
            f"but the module and dim need R^{dim} to R^{sum(sizes)}"
        )
    if factors is not None:
        projector = RowScaled(projector, factors, sizes)
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
