"""What every projector is: a fixed random linear map P: R^d → R^D with its exact adjoint.

P is fixed by (D, d, seed) and never trained; θ = θ₀ + Pω moves D parameters by d numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from subspace_bench.errors import UserError


class Projector(nn.Module, ABC):
    """A linear map from R^d to R^D, the same for the same (D, d, seed) on every device.

    Attributes:
        native: D, the number of native parameters.
        dim: d, the subspace dimension, 1 ≤ d ≤ D.
        seed: of the named stream "projector".

    Raises:
        UserError: where d or D is not a whole number with 1 ≤ d ≤ D, or the seed is negative.
    """

    def __init__(self, native: int, dim: int, seed: int) -> None:
        super().__init__()
        if not all(isinstance(number, int) for number in (native, dim, seed)) or seed < 0:
            raise UserError(
                f"dimensions and seed are whole numbers, the seed 0 or more: not {dim}, {seed}"
            )
        if native < 1 or not 1 <= dim <= native:
            raise UserError(
                f"a subspace of {native:,} parameters has from 1 to {native:,} dimensions, "
                f"not {dim:,}: choose d in that range"
            )
        self.native, self.dim, self.seed = native, dim, seed

    @abstractmethod
    def forward(self, omega: Tensor) -> Tensor:
        """Pω: (…, d) → (…, D), differentiable."""

    @abstractmethod
    def transpose(self, theta: Tensor) -> Tensor:
        """Pᵀθ: (…, D) → (…, d), the exact adjoint: ⟨Pω, θ⟩ = ⟨ω, Pᵀθ⟩."""

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


class Dense(Projector):
    """A projector that stores P, by columns: the buffer `columns` is (d, D), row j is P's column j.

    One column is one contiguous run of memory, so Pᵀg and Pω both stream P once, and a block of
    columns can serve both while it is in cache. Equivalent in NumPy: `columns.T @ omega`.
    """

    columns: Tensor

    def __init__(self, native: int, dim: int, seed: int, columns: Tensor) -> None:
        super().__init__(native, dim, seed)
        self.register_buffer("columns", columns, persistent=False)  # made again from the seed

    def forward(self, omega: Tensor) -> Tensor:
        return omega @ self.columns

    def transpose(self, theta: Tensor) -> Tensor:
        return theta @ self.columns.T


def empty_columns(native: int, dim: int) -> Tensor:
    """A float32 tensor (d, D) to fill; a UserError where the machine has no room for it."""
    try:
        return torch.empty(dim, native)
    except RuntimeError as failure:
        raise UserError(
            f"a dense projector of {native:,} × {dim:,} needs {native * dim * 4 / 1e9:.1f} GB of "
            "memory, which this machine does not give: choose a smaller d"
        ) from failure
