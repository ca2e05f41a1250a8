"""What every projector is: a fixed random linear map P: R^d → R^D with its exact adjoint.

P is fixed by (D, d, seed) and never trained; θ = θ₀ + Pω moves D parameters by d numbers.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from subspace_bench.common.errors import UserError

HALF = (torch.bfloat16, torch.float16)
DTYPES = (torch.float64, torch.float32, *HALF)
ColumnNorms = Literal["orthonormal", "unit", "expected"]

# Rates of one thread of a 2-core AVX-512 server with both cores busy, fitted to training runs.
DRAW_RATE = 1.3e8  # Gaussian numbers drawn per second
READ_RATE = 8e9  # bytes read per second


@dataclass(frozen=True)
class Footprint:
    """Bytes that a projector of some (D, d) takes, known before it is made.

    Attributes:
        resident_bytes: kept for as long as the projector lives.
        workspace_bytes: the most that making it, or applying it to one vector, takes besides
            `resident_bytes`, ω and θ.
    """

    resident_bytes: int
    workspace_bytes: int = 0


@dataclass(frozen=True)
class PredictedSeconds:
    """Seconds that a projector of some (D, d) is expected to take.

    Attributes:
        set_up: constructing it.
        update: one training update, which computes Pᵀg and Pω once each.
    """

    set_up: float
    update: float


class Projector(nn.Module, ABC):
    """A linear map from R^d to R^D, the same for the same (D, d, seed) on every device.

    A projector is a class that says what it needs (`footprint`), what its columns are (`promises`),
    and how P and Pᵀ act on rows of vectors (`_project`, `_adjoint`). Gradients of any order,
    batches and `torch.func` follow from these, because both maps are linear and each other's
    adjoint.

    Attributes:
        native: D, the number of native parameters.
        dim: d, the subspace dimension, 1 ≤ d ≤ D.
        seed: of a named stream of the projector's own, so that two kinds share no numbers.
        accepts: what the class takes besides: "first" (the direction of its first column) or
            "layers" (the sizes of θ's parameters, in order).

    Raises:
        UserError: where d or D is not a whole number with 1 ≤ d ≤ D, or the seed is negative.
    """

    accepts: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, native: int, dim: int, seed: int) -> None:
        super().__init__()
        self.native, self.dim, self.seed = check_sizes(native, dim, seed)

    @classmethod
    @abstractmethod
    def footprint(cls, native: int, dim: int, itemsize: int = 4) -> Footprint:
        """Bytes that P of this size takes.

        Arguments:
            itemsize: of a number of ω and θ as `_project` and `_adjoint` get them: 4 or 8 bytes.
        """

    @classmethod
    @abstractmethod
    def column_norms(cls, native: int, dim: int) -> ColumnNorms:
        """What P's columns are at this size.

        "orthonormal": PᵀP = I. "unit": each has norm 1. "expected": each has norm 1 in the mean
        of its square over seeds.
        """

    @classmethod
    def predicted_seconds(cls, native: int, dim: int, threads: int = 1) -> PredictedSeconds:
        """Seconds that constructing P and one update with it take in float32, to a factor of two
        or three.

        The default assumes that every resident byte is drawn as part of a float32 number, and that
        Pω and Pᵀg each read `resident_bytes + workspace_bytes` once. Override it where P does more.

        Arguments:
            threads: CPU threads, or the number of them that a GPU is worth.
        """
        size = cls.footprint(native, dim)
        return PredictedSeconds(
            set_up=size.resident_bytes / 4 / DRAW_RATE,
            update=2 * (size.resident_bytes + size.workspace_bytes) / READ_RATE / threads,
        )

    @classmethod
    def nonzero_rows(cls, native: int, dim: int) -> float:
        """Expected fraction of P's rows with a nonzero entry: the share of θ that Pᵀθ reads."""
        return 1.0

    @abstractmethod
    def _project(self, omega: Tensor) -> Tensor:
        """Pω of each row: (n, d) → (n, D), contiguous; float32 or float64, as ω, on ω's device."""

    @abstractmethod
    def _adjoint(self, theta: Tensor) -> Tensor:
        """Pᵀθ of each row: (n, D) → (n, d), likewise."""

    def forward(self, omega: Tensor) -> Tensor:
        """Pω: (…, d) → (…, D), differentiable, in the dtype of ω.

        Raises:
            UserError: for another last dimension or device, a dtype that is none of DTYPES, or NaN
                in ω. On a GPU the look for NaN waits for what was called before, so that it is
                left out while a CUDA graph is recorded, which cannot wait.
        """
        self._check(omega, self.dim, "ω")
        return _act(omega, self, False)

    def transpose(self, theta: Tensor) -> Tensor:
        """Pᵀθ: (…, D) → (…, d), the exact adjoint: ⟨Pω, θ⟩ = ⟨ω, Pᵀθ⟩; differentiable.

        Raises:
            UserError: as `forward`, but for NaN, which goes through; a gradient through it is Pω.
        """
        self._check(theta, self.native, "θ")
        return _act(theta, self, True)

    def identity(self) -> dict[str, Any]:
        """What makes the same map again."""
        kind = type(self).__name__
        return {"projector": kind, "native": self.native, "dim": self.dim, "seed": self.seed}

    @property
    def nbytes(self) -> int:
        """Bytes that P occupies on its device."""
        return sum(b.numel() * b.element_size() for b in self.buffers())

    def extra_repr(self) -> str:
        return f"D={self.native}, d={self.dim}, seed={self.seed}"

    def _check(self, vector: Tensor, size: int, name: str) -> None:
        if vector.ndim == 0 or vector.shape[-1] != size:
            raise UserError(
                f"{name} has shape {tuple(vector.shape)}: its last dimension must be {size:,}"
            )
        if vector.dtype not in DTYPES:
            kinds = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
            raise UserError(f"{name} is of {vector.dtype}: give it a floating dtype of {kinds}")
        kept = next(self.buffers(), None)
        if kept is not None and kept.device != vector.device:
            raise UserError(
                f"{name} is on {vector.device} and the projector on {kept.device}: "
                "bring both to one device with .to()"
            )


def _act(vector: Tensor, projector: Projector, adjoint: bool) -> Tensor:
    """P or Pᵀ; as an operation of autograd only where one asks for it, which costs 60 µs."""
    plain = not (
        (vector.requires_grad and torch.is_grad_enabled())
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or torch.compiler.is_compiling()
    )
    act = _Linear.forward if plain else _Linear.apply
    result: Tensor = act(vector, projector, adjoint)
    return result


class _Linear(torch.autograd.Function):
    """P or Pᵀ as an operation of autograd and `torch.func`: each is the other's derivative."""

    @staticmethod
    def forward(vector: Tensor, projector: Projector, adjoint: bool) -> Tensor:
        if not adjoint and _has_nan(vector):
            raise UserError(
                "ω holds NaN (or a gradient through Pᵀ does): training diverged before the "
                "projection"
            )
        act = projector._adjoint if adjoint else projector._project
        shape = (*vector.shape[:-1], projector.dim if adjoint else projector.native)
        if not vector.numel():
            return vector.new_empty(shape)
        rows = vector.reshape(-1, vector.shape[-1]).contiguous()
        with _without_autocast(vector.device.type):
            if rows.dtype in HALF:  # sums of thousands of terms need more than their digits
                return act(rows.float()).to(vector.dtype).view(shape)
            return act(rows).view(shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Projector, bool], output: Tensor) -> None:
        _, ctx.projector, ctx.adjoint = inputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _Linear.apply(grad, ctx.projector, not ctx.adjoint), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *rest: None) -> Tensor:
        result: Tensor = _Linear.apply(tangent, ctx.projector, ctx.adjoint)
        return result

    @staticmethod
    def vmap(
        info: Any, dims: tuple[int, None, None], vector: Tensor, projector: Projector, adjoint: bool
    ) -> tuple[Tensor, int]:
        rows = vector.movedim(dims[0], 0)
        return _Linear.apply(rows, projector, adjoint), 0


def _has_nan(vector: Tensor) -> bool:
    if vector.is_meta or (vector.is_cuda and torch.cuda.is_current_stream_capturing()):
        return False
    return bool(vector.isnan().any())


def _without_autocast(device: str) -> AbstractContextManager[object]:
    """Autocast would round P and vectors, so that Pω and Pᵀθ were no longer adjoint."""
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def check_sizes(native: int, dim: int, seed: int) -> tuple[int, int, int]:
    """The three as `int`, whatever whole numbers they are, with 1 ≤ d ≤ D and a seed of 0 or more.

    Raises:
        UserError: for anything else.
    """
    native, dim = whole(native, "the native dimension D"), whole(dim, "the dimension d")
    seed = whole(seed, "the seed")
    if native < 1:
        raise UserError(f"the native dimension D is the number of parameters, not {native:,}")
    if not 1 <= dim <= native:
        raise UserError(
            f"a subspace of {native:,} parameters has from 1 to {native:,} dimensions, "
            f"not {dim:,}: choose d in that range"
        )
    if seed < 0:
        raise UserError(f"the seed is 0 or more, not {seed}")
    return native, dim, seed


def whole(number: object, name: str) -> int:
    """A whole number of any kind as `int`; a UserError that says what is none."""
    try:
        if isinstance(number, bool):
            raise TypeError
        return operator.index(number)  # type: ignore[arg-type]
    except TypeError as failure:
        raise UserError(f"{name} is a whole number, not {number!r}") from failure
