"""Dense Gaussian projectors: P_ij ~ N(0, 1/D), so that E‖p_j‖² = 1 for each column.

Li et al. 2018 (arXiv 1804.08838), section 2.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from subspace_bench.common.rng import generator
from subspace_bench.kernels.cpu.threads import in_threads, one_thread
from subspace_bench.projectors.base import ColumnNorms, Footprint
from subspace_bench.projectors.dense import Dense, conversion_bytes, empty_columns

STREAM = "projector gaussian"


def normal_columns(native: int, dim: int, seed: int, stream: str = STREAM) -> Tensor:
    """N(0, 1) numbers (d, D), float32.

    Column j depends only on (D, seed, j), so a P of smaller d has the first columns of this one.
    """
    columns = empty_columns(native, dim)
    in_threads(_fill_columns, columns, seed, stream, parts=dim)
    return columns


def _fill_columns(columns: Tensor, seed: int, stream: str, first: int, last: int) -> None:
    for j in range(first, last):
        fill_column(columns[j], seed, j, stream)


def fill_column(column: Tensor, seed: int, j: int, stream: str = STREAM) -> Tensor:
    """Fills column j (D,), float32, with N(0, 1) numbers, and returns it."""
    generator(seed, stream, j).standard_normal(dtype=np.float32, out=column.numpy())
    return column


class Gaussian(Dense):
    """P_ij ~ N(0, 1/D), stored in float32.

    Equivalent in NumPy: `rng.standard_normal((D, d)) / sqrt(D)`.
    """

    def __init__(self, native: int, dim: int, seed: int) -> None:
        super().__init__(native, dim, seed)
        self.columns = normal_columns(native, dim, seed).mul_(native**-0.5)


class GaussianBf16(Dense):
    """The entries of `gaussian` rounded to bfloat16: half the memory and half the time to read it.

    Sums are in float32. Equivalent in NumPy, up to rounding: see `Gaussian`.
    """

    def __init__(self, native: int, dim: int, seed: int) -> None:
        super().__init__(native, dim, seed)
        self.columns = empty_columns(native, dim, torch.int16)
        column = empty_columns(native, 1)[0]
        for j in range(dim):
            fill_column(column, seed, j).mul_(native**-0.5)
            self.columns[j] = column.bfloat16().view(torch.int16)

    @classmethod
    def footprint(cls, native: int, dim: int, itemsize: int = 4) -> Footprint:
        drawing = 6 * native  # a column in float32 and in bfloat16
        return Footprint(2 * native * dim, max(drawing, conversion_bytes(native, dim, itemsize)))


class GaussianUnit(Dense):
    """Gaussian columns, each scaled to unit norm, as in Li et al.'s code.

    Equivalent in NumPy: `A = rng.standard_normal((D, d)); A / np.linalg.norm(A, axis=0)`.
    """

    def __init__(self, native: int, dim: int, seed: int) -> None:
        super().__init__(native, dim, seed)
        self.columns = normal_columns(native, dim, seed)
        with one_thread():
            for column in self.columns:
                column.div_(column.double().norm().float())

    @classmethod
    def footprint(cls, native: int, dim: int, itemsize: int = 4) -> Footprint:
        scaling = 8 * native  # a column in float64
        return Footprint(4 * native * dim, max(scaling, conversion_bytes(native, dim, itemsize)))

    @classmethod
    def column_norms(cls, native: int, dim: int) -> ColumnNorms:
        return "unit"
