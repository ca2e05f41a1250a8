"""Subsampled randomised Hadamard transform: d random columns of an orthogonal Q on R^D.

For D = 2^k, Q = D₁ H with H normalised and D₁ random signs (Ailon and Chazelle 2006; Tropp 2011).
For other D, Q = D₁ X H_first D₂ H_last: H on the first and on the last m = 2^k < D coordinates,
and X, which rotates coordinates i and m + i by 45°. (A DCT is also orthogonal at every length but
slower, above all if D has large prime factors; results/peers.md compares both.)
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from subspace_bench.common import rng
from subspace_bench.common.large_pages import empty_in_large_pages
from subspace_bench.kernels.cpu import srht as kernels
from subspace_bench.kernels.triton import availability
from subspace_bench.projectors import permutations
from subspace_bench.projectors.base import ColumnNorms, Footprint, Projector
from subspace_bench.projectors.hadamard import hadamard_

_CHUNK = 1 << 22  # signs that plain PyTorch draws at a time; a multiple of 128
_MIDDLE = 2  # block of the signs D₂; those of D₁ are block 0 below coordinate m, block 1 above


class SRHT(Projector):
    """d orthonormal columns for any 1 ≤ d ≤ D, with O(D log D) operations and d stored integers.

    Over seeds, every coordinate of θ has the same variance; within one P, variances differ no more
    than with Gaussian columns.
    Equivalent in SciPy, at D = 2^k: `signs * (scipy.linalg.hadamard(D)[:, columns] @ omega) /
    sqrt(D)`.
    """

    positions: Tensor

    def __init__(self, native: int, dim: int, seed: int) -> None:
        super().__init__(native, dim, seed)
        self._key = rng.key(seed, "projector srht")
        self._size = 1 << (self.native.bit_length() - 1)  # m
        positions = distinct_positions(self._key, self.native, self.dim).to(_integers(self.native))
        self.register_buffer("positions", positions, persistent=False)

    @classmethod
    def footprint(cls, native: int, dim: int, itemsize: int = 4) -> Footprint:
        # The adjoint works on a copy of θ; positions are drawn in int64.
        working = max(itemsize * native, 4 * 8 * dim)
        if itemsize == 8:  # plain PyTorch: 26 or 42 bytes per sign of a chunk
            size = 1 << (native.bit_length() - 1)
            working += 26 * size if size <= _CHUNK else max(42 * _CHUNK, 4 * size)
        return Footprint(resident_bytes=_integers(native).itemsize * dim, workspace_bytes=working)

    @classmethod
    def column_norms(cls, native: int, dim: int) -> ColumnNorms:
        return "orthonormal"

    def _project(self, omega: Tensor) -> Tensor:
        theta = empty_in_large_pages(omega, len(omega), self.native, zero=True)
        if module := _triton_kernels(theta):
            module.spread(omega, self.positions, theta)
        else:
            theta[:, self.positions.long()] = omega
        if self._size < self.native:
            self._transform(theta, last=True)
            self._multiply_signs(theta)
        self._transform(theta)
        self._fold(theta, back=False)
        return theta

    def _adjoint(self, theta: Tensor) -> Tensor:
        rows = empty_in_large_pages(theta, *theta.shape).copy_(theta)
        self._fold(rows, back=True)
        self._transform(rows)
        if self._size < self.native:
            self._multiply_signs(rows)
            self._transform(rows, last=True)
        return rows.index_select(1, self.positions)

    def _transform(self, rows: Tensor, last: bool = False) -> None:
        """H on the first, or with `last` on the last m coordinates of each row, unnormalised."""
        start = self.native - self._size if last else 0
        piece = rows[:, start : start + self._size]
        if piece.is_contiguous():  # a single row, or D = m
            hadamard_(piece)
        else:
            piece.copy_(hadamard_(piece.contiguous()))

    def _multiply_signs(self, rows: Tensor) -> None:
        """D₂ and the scale 1/√m of H_last."""
        scale = self._size**-0.5
        if module := _triton_kernels(rows):
            module.multiply_signs_(rows, self._size, self._key, _MIDDLE, scale)
            return
        rows = rows[:, self.native - self._size :]
        if _uses_cpu_kernel(rows):
            for row in rows:
                kernels.multiply_signs_(row, self._key, _MIDDLE, scale)
            return
        for a, b in _chunks(self._size):
            rows[:, a:b].mul_(self._signs(_MIDDLE, a, b, rows)).mul_(scale)

    def _fold(self, rows: Tensor, back: bool) -> None:
        """Applies D₁ X C, or with `back` its adjoint C X D₁.

        C scales the first m coordinates by 1/√m, for H_first.
        """
        scale, size = self._size**-0.5, self._size
        if module := _triton_kernels(rows):
            module.fold_(rows, size, self._key, scale, back)
            return
        if _uses_cpu_kernel(rows):
            for row in rows:
                kernels.fold_(row, size, self._key, scale, back)
            return
        for a, b in _chunks(size):
            low, high = rows[:, a:b], rows[:, size + a : size + b]
            turned = low[:, : high.shape[1]]
            first = self._signs(0, a, b, rows)
            second = self._signs(1, a, a + high.shape[1], rows)
            low.mul_(first if back else scale)
            if back:
                high.mul_(second)
            difference = (turned - high).mul_(0.5**0.5)
            turned.add_(high).mul_(0.5**0.5)
            high.copy_(difference)
            low.mul_(scale if back else first)
            if not back:
                high.mul_(second)

    def _signs(self, block: int, start: int, stop: int, like: Tensor) -> Tensor:
        number = torch.arange(block, block + 1, device=like.device)
        return permutations.signs(self._key, number, start, stop)[0].to(like.dtype)


def distinct_positions(key: tuple[int, int], native: int, dim: int) -> Tensor:
    """`dim` distinct numbers below `native`, int64: the start of a permutation of all."""
    keyed = permutations.permutation_keys(key, torch.zeros(1, dtype=torch.int64, device="cpu"))
    return permutations.permute_index_below(torch.arange(dim, device="cpu")[None], keyed, native)[0]


def _integers(native: int) -> torch.dtype:
    return torch.int32 if native <= 1 << 31 else torch.int64


def _uses_cpu_kernel(rows: Tensor) -> bool:
    """Whether the CPU kernels are used for these rows."""
    return rows.device.type == "cpu" and rows.dtype == torch.float32


def _triton_kernels(rows: Tensor) -> Any:
    """The kernels for CUDA; None for other rows."""
    if not rows.is_cuda or not availability.works():
        return None
    return import_module("subspace_bench.kernels.triton.srht")


def _chunks(size: int) -> Iterator[tuple[int, int]]:
    return ((a, min(a + _CHUNK, size)) for a in range(0, size, _CHUNK))
