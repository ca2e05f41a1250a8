"""The protocol of projectors: a fixed random linear map P: R^d → R^D with its exact adjoint.

θ = θ₀ + Pω trains D parameters through d numbers. P is fixed by (D, d, seed) and never trained.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from subspace_bench.common.errors import UserError
from subspace_bench.common.large_pages import empty_in_large_pages
from subspace_bench.kernels.cpu.pieces import Factors
from subspace_bench.projectors.operation import HALF, apply_map, refuse_nan

DTYPES = (torch.float64, torch.float32, *HALF)
ColumnNorms = Literal["orthonormal", "unit", "expected"]

# Rates of one thread of a 2-core AVX-512 server with both cores busy, fitted to training runs.
LARGEST = 2**63 - 1  # D
DRAW_RATE = 1.3e8  # Gaussian numbers drawn per second
READ_RATE = 8e9  # bytes read per second


@dataclass(frozen=True)
class Footprint:
    """Bytes that a projector of some (D, d) needs, known before it is constructed.

    Attributes:
        resident_bytes: kept as long as the projector exists.
        workspace_bytes: the most needed while constructing it or applying it to one vector, besides
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


class LinearMap(nn.Module, ABC):
    """A fixed linear map R^d → R^D with its exact adjoint.

    A subclass defines how P and Pᵀ act on rows of vectors (`_project`, `_adjoint`). Gradients of
    any order, batches and `torch.func` work because both maps are linear and each is the other's
    adjoint.

    Arguments:
        native: D, the number of native parameters.
        dim: d, the subspace dimension, 1 ≤ d ≤ D.
        seed: 0 or more.

    Raises:
        UserError: if D, d or the seed is not an integer in its range.
    """

    def __init__(self, native: int, dim: int, seed: int) -> None:
        super().__init__()
        self.native, self.dim, self.seed = require_sizes(native, dim, seed)

    @abstractmethod
    def _project(self, omega: Tensor) -> Tensor:
        """Pω of each row, (n, d) → (n, D), a new contiguous tensor.

        ω is float32 or float64, and the result has its dtype and device.
        """

    @abstractmethod
    def _adjoint(self, theta: Tensor) -> Tensor:
        """Pᵀθ of each row, (n, D) → (n, d), likewise."""

    def forward(self, omega: Tensor) -> Tensor:
        """Pω: (…, d) → (…, D), differentiable, in the dtype of ω.

        Raises:
            UserError: if ω has a wrong last dimension, device or dtype (see DTYPES), or, on the
                CPU, contains NaN. On CUDA NaN passes through: to see it, the host would wait.
        """
        self._validate(omega, self.dim, "ω")
        return apply_map(omega, self, False)

    def transpose(self, theta: Tensor) -> Tensor:
        """Pᵀθ: (…, D) → (…, d), the exact adjoint: ⟨Pω, θ⟩ = ⟨ω, Pᵀθ⟩; differentiable.

        Raises:
            UserError: as `forward`, except for NaN, which passes through.
        """
        self._validate(theta, self.native, "θ")
        return apply_map(theta, self, True)

    @torch.no_grad()
    def displace(self, origin: Tensor, omega: Tensor, theta: Tensor) -> None:
        """θ ← θ₀ + Pω of one ω, without autograd; P's kernel may do both in one pass.

        Arguments:
            origin: θ₀, (D,), on the device of ω.
            omega: ω, (d,).
            theta: where θ goes, (D,), of the dtype of θ₀.

        Raises:
            UserError: as `forward`.
        """
        self._validate(omega, self.dim, "ω")
        # RNN.double() reads its weights while they are converted, when ω is not yet.
        if self._has_fused_kernels(omega) and origin.dtype == omega.dtype:
            refuse_nan(omega)
            self._displace(origin, omega.contiguous(), theta)
        else:
            torch.add(self(omega), origin, out=theta)

    @torch.no_grad()
    def transpose_pieces(self, pieces: Sequence[Tensor]) -> Tensor:
        """Pᵀθ (d,), without autograd, of a θ given as tensors that make it up in order.

        P's kernel may read them where they lie; else they are joined first.

        Raises:
            UserError: as `transpose`.
        """
        size = sum(piece.numel() for piece in pieces)
        if size == self.native and self._has_fused_kernels(pieces[0]):
            return self._adjoint_of_pieces([piece.contiguous() for piece in pieces])
        theta = empty_in_large_pages(pieces[0], size)
        return self.transpose(torch.cat([piece.reshape(-1) for piece in pieces], out=theta))

    def _has_fused_kernels(self, vector: Tensor) -> bool:
        """Whether `_displace` and `_adjoint_of_pieces` exist for such vectors."""
        return False

    def _displace(
        self, origin: Tensor, omega: Tensor, theta: Tensor, factors: Factors | None = None
    ) -> None:
        """`displace` in one pass over memory, with the rows of P multiplied by factors."""
        raise NotImplementedError

    def _adjoint_of_pieces(
        self, pieces: Sequence[Tensor], factors: Factors | None = None
    ) -> Tensor:
        """`transpose_pieces`, likewise, of contiguous pieces that have D elements in total.

        The factors are of these pieces.
        """
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        """The facts that determine the map: equal identities mean the same P."""
        kind = type(self).__name__
        return {"projector": kind, "native": self.native, "dim": self.dim, "seed": self.seed}

    @property
    def nbytes(self) -> int:
        """Bytes that P's buffers take on their device."""
        return sum(b.numel() * b.element_size() for b in self.buffers())

    def extra_repr(self) -> str:
        return f"D={self.native}, d={self.dim}, seed={self.seed}"

    def _validate(self, vector: Tensor, size: int, name: str) -> None:
        if vector.ndim == 0 or vector.shape[-1] != size:
            raise UserError(
                f"{name} has shape {tuple(vector.shape)}: its last dimension must be {size:,}"
            )
        if vector.dtype not in DTYPES:
            kinds = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
            raise UserError(f"{name} has dtype {vector.dtype}: convert it to {kinds}")
        buffer = first_buffer(self)
        if buffer is not None and buffer.device != vector.device:
            raise UserError(
                f"{name} is on {vector.device} and the projector on {buffer.device}: "
                "move both to one device with .to()"
            )


class Projector(LinearMap):
    """A random linear map P from R^d to R^D that (D, d, seed) determines on every device.

    A subclass defines its memory (`footprint`) and the action of P and Pᵀ (see `LinearMap`). It may
    promise more of its columns (`column_norms`) and refine the predicted cost (`predicted_seconds`,
    `nonzero_rows`). Each class has its own random stream, so two classes with the same seed share
    no numbers.

    Attributes:
        accepts: additional keyword arguments of the class: "first", the direction of P's first
            column; "layers", the sizes of θ's parameters in order; or "stored", whether P stores
            numbers of each row, or computes them at each use.
    """

    accepts: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    @abstractmethod
    def footprint(cls, native: int, dim: int, itemsize: int = 4) -> Footprint:
        """Bytes that P of this size needs.

        Arguments:
            itemsize: bytes of an element of ω and θ in `_project` and `_adjoint`: 4 or 8.
        """

    @classmethod
    def column_norms(cls, native: int, dim: int) -> ColumnNorms:
        """The guarantee on the norms of P's columns at this size.

        Returns:
            "orthonormal" if PᵀP = I, "unit" if each norm is 1, "expected" (the default) if the mean
            of each squared norm over seeds is 1.
        """
        return "expected"

    @classmethod
    def predicted_seconds(cls, native: int, dim: int, threads: int = 1) -> PredictedSeconds:
        """Seconds to construct P and for one update in float32, within a factor of two or three.

        The default assumes that P draws `resident_bytes / 4` numbers and that Pω and Pᵀg each read
        `resident_bytes + workspace_bytes` once. Override it if P does more.

        Arguments:
            threads: CPU threads, or the number equivalent to a GPU.
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


def first_buffer(module: nn.Module) -> Tensor | None:
    """The first of `module.buffers()`, found 20 times as fast; each step asks several times."""
    for buffer in module._buffers.values():
        if buffer is not None:
            return buffer
    for part in module._modules.values():
        found = None if part is None else first_buffer(part)
        if found is not None:
            return found
    return None


def require_sizes(native: int, dim: int, seed: int) -> tuple[int, int, int]:
    """(D, d, seed) as `int`, from integers of any type.

    Raises:
        UserError: unless 1 ≤ d ≤ D and the seed is 0 or more.
    """
    native = require_integer(native, "the native dimension D")
    dim = require_integer(dim, "the dimension d")
    seed = require_integer(seed, "the seed")
    if not 1 <= native <= LARGEST:
        raise UserError(f"the native dimension D is {native:,}: it must be from 1 to {LARGEST:,}")
    if not 1 <= dim <= native:
        raise UserError(
            f"a subspace of {native:,} parameters has from 1 to {native:,} dimensions, "
            f"not {dim:,}: choose d in that range"
        )
    if seed < 0:
        raise UserError(f"the seed is {seed}: it must be 0 or more")
    return native, dim, seed


def require_integer(number: object, name: str) -> int:
    """An integer of any type (NumPy, a tensor with one element) as `int`.

    Raises:
        UserError: for a bool, a float or anything else.
    """
    try:
        if isinstance(number, bool):
            raise TypeError
        return operator.index(number)  # type: ignore[arg-type]
    except TypeError as failure:
        raise UserError(f"{name} is {number!r}: it must be a whole number") from failure
