"""Projectors that store P: what they share, and how P acts on vectors.

P lies by columns, (d, D): one column is one contiguous run of memory, so Pᵀg and Pω both stream P
once, and a block of columns can serve both while it is in cache.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from subspace_bench.common.errors import UserError
from subspace_bench.common.large_pages import empty_in_large_pages
from subspace_bench.kernels.cpu import dense as kernels
from subspace_bench.projectors.base import (
    DRAW_RATE,
    READ_RATE,
    Footprint,
    PredictedSeconds,
    Projector,
)

CONVERTED = 1 << 22  # entries of P that are brought to another dtype at a time
FEW = 8  # vectors up to which a kernel reads P in bfloat16; for more it is widened and multiplied


class Dense(Projector):
    """A projector that stores P: the buffer `columns` is (d, D), row j is P's column j.

    In float32, or as the bits of bfloat16 in int16, which `module.to(dtype)` leaves alone. It can
    be set after `__init__`, which checks the sizes.
    Equivalent in NumPy: `columns.T @ omega`.
    """

    columns: Tensor

    def __init__(self, native: int, dim: int, seed: int, columns: Tensor | None = None) -> None:
        super().__init__(native, dim, seed)
        self.register_buffer("columns", columns, persistent=False)  # made again from the seed

    @classmethod
    def footprint(cls, native: int, dim: int, itemsize: int = 4) -> Footprint:
        return Footprint(
            resident_bytes=4 * native * dim, workspace_bytes=converting(native, dim, itemsize)
        )

    @classmethod
    def predicted_seconds(cls, native: int, dim: int, threads: int = 1) -> PredictedSeconds:
        """An update reads P once: the fused Adam step uses a block for Pᵀg and Pω together."""
        stored = cls.footprint(native, dim).resident_bytes
        return PredictedSeconds(native * dim / DRAW_RATE, stored / READ_RATE / threads)

    def _project(self, omega: Tensor) -> Tensor:
        self._check_columns()
        if self._in_kernel(omega):
            return kernels.project(_entries(self.columns), omega)
        if self._on_device(omega):
            from subspace_bench.kernels.triton import dense

            return dense.project(self.columns, omega)
        if omega.dtype == self.columns.dtype:
            return omega @ self.columns
        theta = omega.new_zeros(len(omega), self.native)
        for rows in column_blocks(self.native, self.dim):
            theta.addmm_(omega[:, rows], _widened(self.columns[rows], omega.dtype))
        return theta

    def _adjoint(self, theta: Tensor) -> Tensor:
        self._check_columns()
        if self._in_kernel(theta):
            return kernels.adjoint(_entries(self.columns), theta)
        if self._on_device(theta):
            from subspace_bench.kernels.triton import dense

            return dense.adjoint(self.columns, theta)
        if theta.dtype == self.columns.dtype:
            return theta @ self.columns.T
        blocks = (
            _widened(self.columns[rows], theta.dtype)
            for rows in column_blocks(self.native, self.dim)
        )
        return torch.cat([theta @ block.T for block in blocks], dim=1)

    def _check_columns(self) -> None:
        """The kernels look at no bounds."""
        if self.columns.shape != (self.dim, self.native):
            raise UserError(
                f"the columns of {type(self).__name__} have shape {tuple(self.columns.shape)}: "
                f"give them ({self.dim}, {self.native}), one a row"
            )

    def _in_kernel(self, rows: Tensor) -> bool:
        """Whether the kernels of the CPU take these rows: torch reads P on one thread for one."""
        most = {torch.float32: 1, torch.int16: FEW}.get(self.columns.dtype, 0)
        return rows.device.type == "cpu" and rows.dtype == torch.float32 and len(rows) <= most

    def _on_device(self, rows: Tensor) -> bool:
        """Whether the Triton kernel does."""
        kinds = rows.dtype == torch.float32 and self.columns.dtype == torch.int16
        return rows.is_cuda and kinds and len(rows) <= FEW and find_spec("triton") is not None


def column_blocks(native: int, dim: int) -> list[slice]:
    """Columns, as many at a time as have CONVERTED entries."""
    step = max(1, CONVERTED // native)
    return [slice(j, min(j + step, dim)) for j in range(0, dim, step)]


def converting(native: int, dim: int, itemsize: int) -> int:
    """Bytes that columns in another dtype than float32 take: one block in use, one being made."""
    block = min(dim, max(1, CONVERTED // native)) * native
    return 2 * 8 * block if itemsize == 8 else 0


def _widened(columns: Tensor, dtype: torch.dtype) -> Tensor:
    """Columns in another dtype."""
    bits = columns.dtype == torch.int16
    return (columns.view(torch.bfloat16) if bits else columns).to(dtype)


def _entries(columns: Tensor) -> np.ndarray:
    """Columns as the kernels take them."""
    array: np.ndarray = columns.numpy()
    return array.view(np.uint16) if columns.dtype == torch.int16 else array


def empty_columns(native: int, dim: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor (d, D) to fill; a UserError where the machine has no room for it."""
    try:
        return empty_in_large_pages(torch.empty(0, dtype=dtype, device="cpu"), dim, native)
    except RuntimeError as failure:
        raise UserError(
            f"a dense projector of {native:,} × {dim:,} needs "
            f"{native * dim * dtype.itemsize / 1e9:.1f} GB of memory, which this machine does not "
            "give: choose a smaller d"
        ) from failure
