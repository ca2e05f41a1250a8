"""Projectors that store P: what they share, and how P acts on vectors.

P lies by columns, (d, D): one column is one contiguous run of memory, so Pᵀg and Pω both stream P
once, and a block of columns can serve both while it is in cache.
"""

from __future__ import annotations

import torch
from torch import Tensor

from subspace_bench.errors import UserError
from subspace_bench.projectors.base import Footprint, Projector

CONVERTED = 1 << 22  # entries of P that are brought to another dtype at a time


class Dense(Projector):
    """A projector that stores P: the buffer `columns` is (d, D), row j is P's column j.

    Equivalent in NumPy: `columns.T @ omega`.
    """

    columns: Tensor

    def __init__(self, native: int, dim: int, seed: int, columns: Tensor) -> None:
        super().__init__(native, dim, seed)
        self.register_buffer("columns", columns, persistent=False)  # made again from the seed

    @classmethod
    def footprint(cls, native: int, dim: int) -> Footprint:
        return Footprint(held=4 * native * dim)

    def _project(self, omega: Tensor) -> Tensor:
        if omega.dtype == self.columns.dtype:
            return omega @ self.columns
        theta = omega.new_zeros(len(omega), self.native)
        for rows in self._blocks():
            theta.addmm_(omega[:, rows], self.columns[rows].to(omega.dtype))
        return theta

    def _adjoint(self, theta: Tensor) -> Tensor:
        if theta.dtype == self.columns.dtype:
            return theta @ self.columns.T
        parts = [theta @ self.columns[rows].to(theta.dtype).T for rows in self._blocks()]
        return torch.cat(parts, dim=1)

    def _blocks(self) -> list[slice]:
        """Columns, a few at a time."""
        step = max(1, CONVERTED // self.native)
        return [slice(j, min(j + step, self.dim)) for j in range(0, self.dim, step)]


def empty_columns(native: int, dim: int) -> Tensor:
    """A float32 tensor (d, D) to fill; a UserError where the machine has no room for it."""
    try:
        return torch.empty(dim, native)
    except RuntimeError as failure:
        raise UserError(
            f"a dense projector of {native:,} × {dim:,} needs {native * dim * 4 / 1e9:.1f} GB of "
            "memory, which this machine does not give: choose a smaller d"
        ) from failure
