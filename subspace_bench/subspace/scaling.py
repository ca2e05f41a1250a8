"""Row scaling: P with each row multiplied by √(D/d)/√fan-in, so one learning rate fits most sizes.

Adam moves each coordinate of ω by about the learning rate, so it moves θ_i by the rate times the
norm of row i of P. Columns of norm 1 have rows of norm √(d/D), which shrinks the steps of θ in
large networks and small subspaces. Scaled rows have norm 1/√fan-in: the steps of every layer are
as large, relative to its usual initialisation, for all D and d.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from subspace_bench import models
from subspace_bench.common.errors import UserError
from subspace_bench.projectors import LinearMap

SCALINGS = ("fan-in", "none")


class RowScaled(LinearMap):
    """SP: a map P with its rows multiplied by the factors on S's diagonal.

    Arguments:
        inner: P.
        factors: one factor for each parameter of θ, in order.
        sizes: the parameters' numbers of elements; their sum is D.
    """

    rows: Tensor

    def __init__(self, inner: LinearMap, factors: list[float], sizes: list[int]) -> None:
        super().__init__(inner.native, inner.dim, inner.seed)
        self.inner = inner
        device = next((b.device for b in inner.buffers()), torch.device("cpu"))
        rows = torch.tensor(factors, dtype=torch.float32, device=device).repeat_interleave(
            torch.tensor(sizes, device=device), output_size=inner.native
        )
        self.register_buffer("rows", rows, persistent=False)

    def identity(self) -> dict[str, Any]:
        return {**self.inner.identity(), "scaling": "fan-in"}

    def _project(self, omega: Tensor) -> Tensor:
        return self.inner._project(omega).mul_(self.rows)

    def _adjoint(self, theta: Tensor) -> Tensor:
        return self.inner._adjoint(theta * self.rows)


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
