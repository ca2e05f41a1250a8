"""The projector of a Subspace, outside the module tree, and θ₀ + Pω as one node of the graph."""

from __future__ import annotations

import copy
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch._compile import _disable_dynamo
from torch.autograd import forward_ad

from subspace_bench.common.errors import UserError
from subspace_bench.common.large_pages import empty_in_large_pages
from subspace_bench.projectors import LinearMap, make
from subspace_bench.projectors.base import first_buffer
from subspace_bench.subspace.scaling import RowScaled

T = TypeVar("T")
P = ParamSpec("P")


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
        buffer = first_buffer(self.projector)
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


class Pieces(torch.autograd.Function):
    """θ₀ + Pω, cut into the shapes of the module's parameters, as one node of the graph.

    θ is written once, and its gradient is never joined: P's adjoint reads the gradients of the
    pieces where autograd left them. Saves no tensor, so the graph can be used twice.
    """

    @staticmethod
    def forward(
        ctx: Any, omega: Tensor, projector: LinearMap, origin: Tensor, theta: Tensor,
        shapes: Sequence[torch.Size], fixed: Tensor | None,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """Writes θ into `theta`; the pieces share its memory, but are not views of it."""
        projector.displace(origin, omega, theta)
        if fixed is not None:
            theta[fixed] = origin[fixed]
        ctx.projector, ctx.shapes, ctx.fixed = projector, shapes, fixed
        ctx.set_materialize_grads(False)
        return tuple(_cut(theta, shapes))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        like = next((grad for grad in grads if grad is not None), None)
        if like is None:
            return (None,) * 6
        full = [
            like.new_zeros(shape) if grad is None else grad
            for grad, shape in zip(grads, ctx.shapes, strict=True)
        ]
        if ctx.fixed is None and not torch.is_grad_enabled() and not transformed():
            return ctx.projector.transpose_pieces(full), *[None] * 5
        joined = torch.cat([grad.reshape(-1) for grad in full])
        if ctx.fixed is not None:
            joined = joined.index_fill(0, ctx.fixed, 0.0)
        return ctx.projector.transpose(joined), *[None] * 5


def _cut(theta: Tensor, shapes: Sequence[torch.Size]) -> Iterator[Tensor]:
    storage, start = theta.untyped_storage(), 0
    for shape in shapes:
        yield _tensor(theta, storage, start, shape)
        start += shape.numel()


def _tensor(like: Tensor, storage: torch.UntypedStorage, start: int, shape: torch.Size) -> Tensor:
    """A contiguous tensor in a part of some memory; not a view of another tensor."""
    # Without a stride it is contiguous, which torch's type stubs do not know.
    tensor: Tensor = like.new_empty(0).set_(storage, start, shape)  # type: ignore[call-overload]
    return tensor


def transformed() -> bool:
    """Whether `torch.func` or forward-mode AD is at work."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


class ThetaMemory:
    """Memory for θ, used again once nothing else refers to it.

    New memory of 45 MB costs 11,000 page faults, which take as long as a fast projection.
    Pieces that someone keeps, or that a graph needs for its backward, keep the memory.
    """

    def __init__(self) -> None:
        self.storage: torch.UntypedStorage | None = None
        self.lock = threading.Lock()

    def take(self, like: Tensor) -> Tensor:
        """An uninitialised vector like θ₀."""
        if like.device.type != "cpu":
            return torch.empty_like(like)
        with self.lock:
            storage = self.storage
            if (
                storage is None
                or storage.nbytes() != like.nbytes
                or torch._C._storage_Use_Count(storage._cdata) > 1
            ):
                self.storage = storage = empty_in_large_pages(like, len(like)).untyped_storage()
            # A new tensor: one made in inference mode could not be written outside of it.
            return _tensor(like, storage, 0, like.shape)


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


def outside_graphs(function: Callable[P, T]) -> Callable[P, T]:
    """As `torch.compiler.disable`, which imports torch._dynamo: a second, spent here only where
    something is compiled."""
    disabled = _disable_dynamo(function)

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return (disabled if torch.compiler.is_compiling() else function)(*args, **kwargs)

    return run
