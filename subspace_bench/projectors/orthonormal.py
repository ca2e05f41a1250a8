"""Dense projector with orthonormal columns: P = Q of A = QR, A = [θ_init | N(0,1)^{D×(d−1)}].

The post's projector (Greydanus 2017): with θ_init as A's first column the subspace contains the
initial point, Pω_init = θ_init. Without it every column of A is Gaussian.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from subspace_bench.common.errors import UserError
from subspace_bench.kernels.cpu.threads import in_threads, one_thread
from subspace_bench.projectors.base import ColumnNorms, Footprint, PredictedSeconds
from subspace_bench.projectors.dense import Dense, converting
from subspace_bench.projectors.gaussian import normal_columns

STREAM = "projector"  # without its name, as committed records were made
BLOCK = 512  # columns: wide enough for full speed of the matrix products
# Operations per second on one thread: products between blocks, and float64 work within a block.
PRODUCT_RATE, BLOCK_RATE = 1.3e11, 2.5e10
# Of a matrix product, columns that one thread makes: P has the same bits on any number of threads
# because each makes pieces that do not depend on their number.
_INNER, _OUTER = 128, 2048


class Orthonormal(Dense):
    """Orthonormal columns spanning a uniformly random subspace, or one through `first`.

    Equivalent in NumPy up to the sign of columns: `np.linalg.qr(A)[0]`, in float64, then float32.

    Arguments:
        first: (D,), the post's θ_init, which becomes the direction of the first column; or None.

    Raises:
        UserError: where `first` has another shape or dtype, is not finite, or is zero everywhere.
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"first"})

    def __init__(self, native: int, dim: int, seed: int, first: Tensor | None = None) -> None:
        super().__init__(native, dim, seed)
        if first is not None:
            first = _direction(first, self.native)
        columns = normal_columns(native, dim, seed, STREAM)
        if first is not None:
            # Q does not depend on the length of A's columns: this one gets that of the others.
            with one_thread():
                columns[0] = first * (native**0.5 / first.norm())
        self.columns = orthonormalise_(columns)
        self._first = (
            None if first is None else [first.norm().item(), *self.columns[0, :3].tolist()]
        )

    @classmethod
    def footprint(cls, native: int, dim: int, itemsize: int = 4) -> Footprint:
        making = 2 * 8 * native * min(dim, BLOCK)  # a block of columns in float64, twice
        return Footprint(4 * native * dim, max(making, converting(native, dim, itemsize)))

    @classmethod
    def column_norms(cls, native: int, dim: int) -> ColumnNorms:
        return "orthonormal"

    @classmethod
    def predicted_seconds(cls, native: int, dim: int, threads: int = 1) -> PredictedSeconds:
        """`Dense`'s, and the orthonormalisation."""
        drawing = super().predicted_seconds(native, dim, threads)
        per_entry = 2 * dim / PRODUCT_RATE + 3 * min(dim, BLOCK) / BLOCK_RATE
        return replace(drawing, set_up=drawing.set_up + native * dim * per_entry / threads)

    def identity(self) -> dict[str, Any]:
        """With the length and the beginning of the first column, where that was chosen."""
        return {**super().identity(), "first column": self._first}


def _direction(first: Tensor, native: int) -> Tensor:
    """`first`, if it can be a column of P."""
    if first.shape != (native,):
        raise UserError(f"θ_init has shape {tuple(first.shape)}, and P's columns ({native:,},)")
    if not first.is_floating_point():
        raise UserError(f"θ_init is of {first.dtype}: give it a floating dtype")
    if not first.isfinite().all():
        raise UserError("θ_init holds NaN or infinity: no direction for P's first column")
    if not first.any():
        raise UserError(
            "θ_init is zero, which is no direction for P's first column: choose another "
            "initialisation, or origin init"
        )
    return first.detach()


def orthonormalise_(columns: Tensor) -> Tensor:
    """Replaces the rows of `columns` (d, D) by the Q of their QR decomposition, in place.

    Block Gram-Schmidt in float32 with Cholesky QR in float64 inside a block: two large matrix
    products a block and no second copy of A. A's Gaussian columns meet the span of those before
    them in numbers near 1, against their own length √D, and A's condition number is
    (1 + √(d/D)) / (1 − √(d/D)), about 10 at d = 0.67 D; so one pass leaves columns orthogonal to
    the rounding of float32. Nearer to d = D each block is passed over twice, which is enough
    (Giraud et al. 2005).
    """
    dim, native = columns.shape
    passes = 1 if dim <= 0.67 * native else 2
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


@torch.inference_mode()  # what the thread that called may be in
def _products(block: Tensor, done: Tensor, products: Tensor, first: int, last: int) -> None:
    for i in range(first * _INNER, min(last * _INNER, len(done)), _INNER):
        products[:, i : i + _INNER] = block @ done[i : i + _INNER].T


@torch.inference_mode()
def _subtract(
    block: Tensor, done: Tensor, products: Tensor, wide: Tensor, first: int, last: int
) -> None:
    for i in range(first * _OUTER, min(last * _OUTER, block.shape[1]), _OUTER):
        block[:, i : i + _OUTER].addmm_(products, done[:, i : i + _OUTER], alpha=-1)
        wide[:, i : i + _OUTER] = block[:, i : i + _OUTER]


@torch.inference_mode()
def _gram(wide: Tensor, gram: Tensor, first: int, last: int) -> None:
    for i in range(first * _INNER, min(last * _INNER, len(wide)), _INNER):
        gram[i : i + _INNER] = wide[i : i + _INNER] @ wide.T


@torch.inference_mode()
def _solve(block: Tensor, lower: Tensor, wide: Tensor, first: int, last: int) -> None:
    for i in range(first * _OUTER, min(last * _OUTER, block.shape[1]), _OUTER):
        piece = wide[:, i : i + _OUTER]
        block[:, i : i + _OUTER] = torch.linalg.solve_triangular(lower, piece, upper=False)
