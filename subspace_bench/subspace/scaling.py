"""Row scaling: P with each row multiplied by √(D/d)/√fan-in, so one learning rate fits most sizes.

Adam moves each coordinate of ω by about the learning rate, so it moves θ_i by the rate times the
norm of row i of P. Columns of norm 1 have rows of norm √(d/D), which shrinks the steps of θ in
large networks and small subspaces. Scaled rows have norm 1/√fan-in: the steps of every layer are
as large, relative to its usual initialisation, for all D and d.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from subspace_bench import models
from subspace_bench.common.errors import UserError
from subspace_bench.common.large_pages import empty_in_large_pages
from subspace_bench.kernels.cpu.pieces import Factors
from subspace_bench.projectors import LinearMap

SCALINGS = ("fan-in", "none")


class RowScaled(LinearMap):
    """SP: a map P with its rows multiplied by the factors on S's diagonal.

    Arguments:
        inner: P.
        factors: one factor for each parameter of θ, in order.
        sizes: the parameters' numbers of elements; their sum is D.
    """

    def __init__(self, inner: LinearMap, factors: list[float], sizes: list[int]) -> None:
        nn.Module.__init__(self)  # the sizes of `inner` are valid
        self.native, self.dim, self.seed = inner.native, inner.dim, inner.seed
        self.inner, self.sizes, self.factors = inner, sizes, Factors.of(sizes, factors)

    def identity(self) -> dict[str, Any]:
        return {**self.inner.identity(), "scaling": "fan-in"}

    def _project(self, omega: Tensor) -> Tensor:
        return self._scale_(self.inner._project(omega))

    def _adjoint(self, theta: Tensor) -> Tensor:
        return self.inner._adjoint(
            self._scale_(empty_in_large_pages(theta, *theta.shape).copy_(theta))
        )

    def _scale_(self, theta: Tensor) -> Tensor:
        """Multiplies each row of θ (n, D) by S, in place."""
        # The factors of `self.factors` are rounded to float32: all ways multiply by the same ones.
        torch._foreach_mul_(torch.split(theta, self.sizes, dim=1), self.factors.values.tolist())
        return theta

    def _has_fused_kernels(self, vector: Tensor) -> bool:
        # Kernels take one factor, so a map that is scaled twice has none.
        return not isinstance(self.inner, RowScaled) and self.inner._has_fused_kernels(vector)

    def _displace(
        self, origin: Tensor, omega: Tensor, theta: Tensor, factors: Factors | None = None
    ) -> None:
        assert factors is None
        self.inner._displace(origin, omega, theta, self.factors)

    def _adjoint_of_pieces(
        self, pieces: Sequence[Tensor], factors: Factors | None = None
    ) -> Tensor:
        assert factors is None
        if [piece.numel() for piece in pieces] != self.sizes:
            pieces = torch.split(torch.cat([piece.reshape(-1) for piece in pieces]), self.sizes)
        return self.inner._adjoint_of_pieces(pieces, self.factors)


def row_factors(
    scaling: str, module: nn.Module, parameters: list[nn.Parameter], dim: int
) -> list[float] | None:
    """The factor of each parameter's rows, √(D/d)/√fan-in; None for scaling "none".

    Raises:
        UserError: if SCALINGS lacks the scaling.
    """
    if scaling not in SCALINGS:
        raise UserError(f"unknown scaling {scaling!r}: choose one of {', '.join(SCALINGS)}")
    if scaling == "none":
        return None
    native, fan_ins = sum(p.numel() for p in parameters), models.fan_ins(module)
    return [(native / dim / fan_ins[p]) ** 0.5 for p in parameters]
