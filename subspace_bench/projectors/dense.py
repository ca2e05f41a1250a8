"""Projectors that store P, by columns in a (d, D) array.

A column is contiguous in memory, so Pω and Pᵀθ each stream P once. The fused Adam step
(kernels/cpu/projected_adam) uses a block of columns for both products while it is in cache.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from subspace_bench.common.errors import UserError
from subspace_bench.common.large_pages import empty_in_large_pages
from subspace_bench.kernels.cpu import dense as kernels
from subspace_bench.kernels.triton import availability
from subspace_bench.projectors.base import (
    DRAW_RATE,
    READ_RATE,
    Footprint,
    PredictedSeconds,
    Projector,
)

CONVERTED = 1 << 22  # entries of P converted to another dtype at a time
FEW = 8  # the most vectors for the bfloat16 kernels; for more, P is converted by blocks


class Dense(Projector):
    """A projector that stores P. Equivalent in NumPy: `columns.T @ omega`.

    Attributes:
        columns: (d, D); row j is P's column j. float32, or the bits of bfloat16 in int16, which
            `module.to(dtype)` does not convert. Subclasses set it after `__init__`.
    """

    columns: Tensor

    def __init__(self, native: int, dim: int, seed: int, columns: Tensor | None = None) -> None:
        super().__init__(native, dim, seed)
        self.register_buffer("columns", columns, persistent=False)  # the seed determines it

    @classmethod
    def footprint(cls, native: int, dim: int, itemsize: int = 4) -> Footprint:
        return Footprint(
            resident_bytes=4 * native * dim, workspace_bytes=conversion_bytes(native, dim, itemsize)
        )

    @classmethod
    def predicted_seconds(cls, native: int, dim: int, threads: int = 1) -> PredictedSeconds:
        """As the default, but the fused Adam step reads P once per update."""
        stored = cls.footprint(native, dim).resident_bytes
        return PredictedSeconds(native * dim / DRAW_RATE, stored / READ_RATE / threads)

    def _project(self, omega: Tensor) -> Tensor:
        self._require_shape()
        if module := self._kernels(omega):
            theta: Tensor = module.project(self.columns, omega)
            return theta
        if omega.dtype == self.columns.dtype:
            return omega @ self.columns
        theta = omega.new_zeros(len(omega), self.native)
        for rows in column_blocks(self.native, self.dim):
            theta.addmm_(omega[:, rows], _converted(self.columns[rows], omega.dtype))
        return theta

    def _adjoint(self, theta: Tensor) -> Tensor:
        self._require_shape()
        if module := self._kernels(theta):
            omega: Tensor = module.adjoint(self.columns, theta)
            return omega
        if theta.dtype == self.columns.dtype:
            return theta @ self.columns.T
        blocks = (
            _converted(self.columns[rows], theta.dtype)
            for rows in column_blocks(self.native, self.dim)
        )
        return torch.cat([theta @ block.T for block in blocks], dim=1)

    def _require_shape(self) -> None:
        """Kernels do not check bounds, so a wrong shape would read other memory."""
        if self.columns.shape != (self.dim, self.native):
            raise UserError(
                f"the columns of {type(self).__name__} have shape {tuple(self.columns.shape)}: "
                f"it must be ({self.dim}, {self.native}), one column per row"
            )

    def _kernels(self, rows: Tensor) -> Any:
        """The kernels for these rows; None where torch's matrix products are used.

        For one vector, torch reads a float32 P on a single thread; for many, it is faster. A P in
        bfloat16 is otherwise converted block by block.
        """
        half = self.columns.dtype == torch.int16
        if rows.dtype != torch.float32 or len(rows) > (FEW if half else 1):
            return None
        if rows.device.type == "cpu" and (half or self.columns.dtype == torch.float32):
            return kernels
        if rows.is_cuda and half and availability.works():
            return import_module("subspace_bench.kernels.triton.dense")
        return None


def column_blocks(native: int, dim: int) -> list[slice]:
    """Slices of columns with about CONVERTED entries each."""
    step = max(1, CONVERTED // native)
    return [slice(j, min(j + step, dim)) for j in range(0, dim, step)]


def conversion_bytes(native: int, dim: int, itemsize: int) -> int:
    """Bytes for converting columns to another dtype: one block in use and the next."""
    block = min(dim, max(1, CONVERTED // native)) * native
    return 2 * 8 * block if itemsize == 8 else 0


def _converted(columns: Tensor, dtype: torch.dtype) -> Tensor:
    """Columns converted to `dtype`."""
    bits = columns.dtype == torch.int16
    return (columns.view(torch.bfloat16) if bits else columns).to(dtype)


def empty_columns(native: int, dim: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """An uninitialised tensor (d, D), in large pages if the system has them.

    Raises:
        UserError: if the machine has too little memory.
    """
    try:
        return empty_in_large_pages(torch.empty(0, dtype=dtype, device="cpu"), dim, native)
    except RuntimeError as failure:
        raise UserError(
            f"a dense projector of {native:,} × {dim:,} needs "
            f"{native * dim * dtype.itemsize / 1e9:.1f} GB of memory, which is more than is free: "
            "choose a smaller d"
        ) from failure
