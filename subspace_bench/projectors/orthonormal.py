"""Dense projector with orthonormal columns: P = Q of A = QR, A = [θ_init | N(0,1)^{D×(d−1)}].

The post's projector (Greydanus 2017). With θ_init as the first column of A, the subspace contains
the initial point: Pω_init = θ_init. Without it, all columns of A are Gaussian.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from subspace_bench.common.errors import UserError
from subspace_bench.kernels.cpu.threads import in_threads, one_thread
from subspace_bench.projectors.base import ColumnNorms, Footprint, PredictedSeconds
from subspace_bench.projectors.dense import Dense, conversion_bytes
from subspace_bench.projectors.gaussian import normal_columns
from subspace_bench.projectors.operation import without_autocast, without_tf32

STREAM = "projector"  # without "orthonormal": the committed records were made with this name
BLOCK = 512  # columns at a time: enough for fast matrix products
# Operations per second on one thread: products between blocks, and float64 work within a block.
PRODUCT_RATE, BLOCK_RATE = 1.3e11, 2.5e10
# Columns of a matrix product that one thread computes at a time. Pieces of a fixed size give
# the same bits on any number of threads.
_INNER, _OUTER = 128, 2048


class Orthonormal(Dense):
    """Orthonormal columns that span a uniformly random subspace, or one that contains `first`.

    Equivalent in NumPy, up to signs of columns: `np.linalg.qr(A)[0].astype("float32")`.

    Arguments:
        first: (D,), the direction of the first column (the post's θ_init); or None. If it is on a
            GPU, columns are orthonormalised there, which takes less time; equal up to rounding.

    Raises:
        UserError: if `first` has another shape or dtype, is not finite, or is zero.
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"first"})

    def __init__(self, native: int, dim: int, seed: int, first: Tensor | None = None) -> None:
        super().__init__(native, dim, seed)
        if first is not None:
            first = _direction(first, self.native)
        columns = normal_columns(native, dim, seed, STREAM)
        if first is not None:
            columns = columns.to(first.device)
            # Q does not depend on the norms of A's columns; equal norms give similar rounding.
            with one_thread():
                columns[0] = first * (native**0.5 / first.norm())
        self.columns = orthonormalise_(columns)
        self._first = (
            None if first is None else [first.norm().item(), *self.columns[0, :3].tolist()]
        )

    @classmethod
    def footprint(cls, native: int, dim: int, itemsize: int = 4) -> Footprint:
        block = min(dim, BLOCK)
        wide = 8 * native * block  # a block of columns in float64
        # Its products with finished columns, Gram matrix, factor, and a part of the solution.
        small = block * (4 * dim + 16 * block + 8 * min(native, _OUTER))
        return Footprint(
            4 * native * dim, max(wide + small, conversion_bytes(native, dim, itemsize))
        )

    @classmethod
    def column_norms(cls, native: int, dim: int) -> ColumnNorms:
        return "orthonormal"

    @classmethod
    def predicted_seconds(cls, native: int, dim: int, threads: int = 1) -> PredictedSeconds:
        """As `Dense`, plus the orthonormalisation."""
        drawing = super().predicted_seconds(native, dim, threads)
        per_entry = 2 * dim / PRODUCT_RATE + 3 * min(dim, BLOCK) / BLOCK_RATE
        return replace(drawing, set_up=drawing.set_up + native * dim * per_entry / threads)

    def identity(self) -> dict[str, Any]:
        """Includes the norm and the first three entries of a given first column."""
        return {**super().identity(), "first column": self._first}


def _direction(first: Tensor, native: int) -> Tensor:
    """`first`, checked and detached."""
    if first.shape != (native,):
        raise UserError(
            f"θ_init has shape {tuple(first.shape)}: it must be ({native:,},), as P's columns"
        )
    if not first.is_floating_point():
        raise UserError(f"θ_init has dtype {first.dtype}: convert it to a floating dtype")
    if not first.isfinite().all():
        raise UserError(
            "θ_init contains NaN or infinity, so it gives P's first column no direction"
        )
    if not first.any():
        raise UserError(
            "θ_init is zero, which gives P's first column no direction: choose another "
            "initialisation, or origin init"
        )
    return first.detach()


def orthonormalise_(columns: Tensor) -> Tensor:
    """Replaces the rows of `columns` (d, D) by the Q of their QR decomposition, in place.

    Block Gram-Schmidt in float32, with Cholesky QR in float64 within a block: two large matrix
    products per block, and no second copy of A. A Gaussian A has condition number
    (1 + √(d/D)) / (1 − √(d/D)), about 10 at d = 0.67 D. Up to there, one pass makes columns
    orthogonal to float32 rounding. Nearer to d = D, each block needs two passes, which are enough
    (Giraud et al. 2005).
    """
    dim, native = columns.shape
    passes = 1 if dim <= 0.67 * native else 2
    if columns.is_cuda:
        return _on_device_(columns, passes)
    with torch.autocast("cpu", enabled=False), one_thread() as threads:
        for j in range(0, dim, BLOCK):
            done, block = columns[:j], columns[j : j + BLOCK]
            products = block.new_empty(len(block), j)
            wide = block.new_empty(block.shape, dtype=torch.float64)
            gram = wide.new_empty(len(block), len(block))
            for _ in range(passes):
                parts = -(-j // _INNER)
                in_threads(_products, block, done, products, parts=parts, threads=threads)
                parts = -(-native // _OUTER)
                in_threads(_subtract, block, done, products, wide, parts=parts, threads=threads)
                rows = -(-len(block) // _INNER)
                in_threads(_gram, wide, gram, parts=rows, threads=threads)
                lower = torch.linalg.cholesky(gram)
                in_threads(_solve, block, lower, wide, parts=parts, threads=threads)
    return columns


def _on_device_(columns: Tensor, passes: int) -> Tensor:
    """`orthonormalise_` in plain PyTorch, whose products fill a GPU."""
    with torch.no_grad(), without_autocast(columns.device.type), without_tf32():
        for j in range(0, len(columns), BLOCK):
            done, block = columns[:j], columns[j : j + BLOCK]
            for _ in range(passes):
                block.addmm_(block @ done.T, done, alpha=-1)
                wide = block.double()
                lower = torch.linalg.cholesky(wide @ wide.T)
                block.copy_(torch.linalg.solve_triangular(lower, wide, upper=False))
    return columns


def _serial(piece: Callable[..., None]) -> Callable[..., None]:
    """What each thread does first, as both settings are a thread's own.

    MKL's number of threads: else a thread of torch's would split its matrix product over others
    again, which may change its bits. inference_mode: without it, other threads could not write the
    tensors of a caller in inference_mode.
    """

    @functools.wraps(piece)
    def run(*arguments: Any) -> None:
        torch.set_num_threads(1)
        with torch.inference_mode():
            piece(*arguments)

    return run


@_serial
def _products(block: Tensor, done: Tensor, products: Tensor, first: int, last: int) -> None:
    """products = block @ done.T: the components of a block along the finished columns."""
    for i in range(first * _INNER, min(last * _INNER, len(done)), _INNER):
        products[:, i : i + _INNER] = block @ done[i : i + _INNER].T


@_serial
def _subtract(
    block: Tensor, done: Tensor, products: Tensor, wide: Tensor, first: int, last: int
) -> None:
    """block −= products @ done, and a copy of it in float64."""
    for i in range(first * _OUTER, min(last * _OUTER, block.shape[1]), _OUTER):
        block[:, i : i + _OUTER].addmm_(products, done[:, i : i + _OUTER], alpha=-1)
        wide[:, i : i + _OUTER] = block[:, i : i + _OUTER]


@_serial
def _gram(wide: Tensor, gram: Tensor, first: int, last: int) -> None:
    """gram = wide @ wide.T, whose Cholesky factor L orthonormalises the block."""
    for i in range(first * _INNER, min(last * _INNER, len(wide)), _INNER):
        gram[i : i + _INNER] = wide[i : i + _INNER] @ wide.T


@_serial
def _solve(block: Tensor, lower: Tensor, wide: Tensor, first: int, last: int) -> None:
    """block = L⁻¹ @ wide."""
    for i in range(first * _OUTER, min(last * _OUTER, block.shape[1]), _OUTER):
        piece = wide[:, i : i + _OUTER]
        block[:, i : i + _OUTER] = torch.linalg.solve_triangular(lower, piece, upper=False)
