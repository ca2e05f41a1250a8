"""Hashed: each parameter equals one entry of ω, scaled and with a random sign.

θ_i = ± ω_{c(i)} / √n_{c(i)}, where n_c rows have column c: feature hashing (Weinberger et al. 2009;
HashedNets, Chen et al. 2015), balanced, so that n_c is ⌊D/d⌋ or ⌈D/d⌉. Columns have disjoint
supports, so they are orthonormal.

c(i) = g(i) mod d, where g permutes rows within blocks of 2^k ≥ 2d rows. g is computed on demand;
only the permutation of a partial last block is stored.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from subspace_bench.common import rng
from subspace_bench.kernels.cpu import hashed as kernels
from subspace_bench.kernels.cpu.pieces import Factors
from subspace_bench.kernels.triton import availability
from subspace_bench.projectors import permutations
from subspace_bench.projectors.base import ColumnNorms, Footprint
from subspace_bench.projectors.rows import ProjectorByRows

_MIN_BITS = 12  # log2 of the least block
_PARTS = 16  # partial sums of the adjoint; a fixed number, so bits do not depend on threads
_CHUNK = 1 << 20  # rows that plain PyTorch handles at a time


class Hashed(ProjectorByRows):
    """One entry per row: D operations, and memory for at most one block of rows.

    Equivalent in SciPy: `csr_array((signs / sqrt(count[c]), c, arange(D + 1))) @ omega`.
    """

    rest: Tensor

    def __init__(self, native: int, dim: int, seed: int) -> None:
        super().__init__(native, dim, seed)
        self._key = rng.key(seed, "projector hashed")
        self._bits = _bits(self.dim)
        self._full = self.native >> self._bits  # blocks
        size = self.native - (self._full << self._bits)
        keyed = permutations.permutation_keys(self._key, torch.tensor([self._full], device="cpu"))
        index = torch.arange(size, device="cpu")[None]
        places = permutations.permute_index_below(index, keyed, size)[0]
        self.register_buffer("rest", places.to(torch.int32), persistent=False)

    @classmethod
    def footprint(cls, native: int, dim: int, itemsize: int = 4) -> Footprint:
        size = 1 << _bits(dim)
        # Per partial sum, the adjoint needs a table and a block; the last is permuted in int64.
        table = 4 * (2 * size + dim) * min(_PARTS, native // size + 1) + 20 * dim
        working = max(table, 4 * 8 * (native % size))
        if itemsize == 8:  # plain PyTorch: 56 bytes per row of the blocks it handles at a time
            working = 56 * min(native, max(_CHUNK, size)) + 8 * dim
        return Footprint(resident_bytes=4 * (native % size), workspace_bytes=working)

    @classmethod
    def column_norms(cls, native: int, dim: int) -> ColumnNorms:
        return "orthonormal"

    @functools.cached_property
    def block_starts(self) -> np.ndarray:
        return np.append(np.arange(0, self.native, 1 << self._bits), self.native)

    def _project(self, omega: Tensor) -> Tensor:
        if self._uses_triton_kernel(omega):
            from subspace_bench.kernels.triton import hashed

            omega = omega * self._scale(omega)
            return hashed.project(omega, self.native, self._key, self._bits, self.rest)
        return self._project_blocks(omega)

    def _adjoint(self, theta: Tensor) -> Tensor:
        if self._uses_triton_kernel(theta):
            from subspace_bench.kernels.triton import hashed

            omega = hashed.adjoint(theta, self.dim, self._key, self._bits, self.rest)
            return omega * self._scale(omega)
        return self._adjoint_of_blocks(theta)

    def _project_blocks(self, omega: Tensor, blocks: range | None = None) -> Tensor:
        omega = omega * self._scale(omega)
        if self._has_fused_kernels(omega):
            p = self._key, self._bits, self.rest
            return kernels.project(omega, self.native, *p, blocks=blocks)
        begin, end = self._limits(blocks)
        theta = omega.new_empty(len(omega), end - begin)
        for start, stop, columns, signs in self._rows(omega, *[blocks] if blocks else []):
            torch.mul(omega[:, columns], signs, out=theta[:, start - begin : stop - begin])
        return theta

    def _adjoint_of_blocks(self, theta: Tensor, blocks: range | None = None) -> Tensor:
        if self._has_fused_kernels(theta):
            p = self._key, self._bits, self.rest
            first = blocks.start if blocks else 0
            omega = kernels.adjoint(theta, self.native, self.dim, *p, _PARTS, first)
        else:
            begin, _ = self._limits(blocks)
            omega = theta.new_zeros(len(theta), self.dim)
            for start, stop, columns, signs in self._rows(theta, *[blocks] if blocks else []):
                omega.index_add_(1, columns, theta[:, start - begin : stop - begin] * signs)
        return omega * self._scale(omega)

    def _limits(self, blocks: range | None) -> tuple[int, int]:
        """The first row of some blocks, and the first after them."""
        if blocks is None:
            return 0, self.native
        return blocks.start << self._bits, min(self.native, blocks.stop << self._bits)

    def _uses_triton_kernel(self, rows: Tensor) -> bool:
        few = len(rows) < 1 << 16  # the most programs of a launch's second dimension
        return few and rows.is_cuda and rows.dtype == torch.float32 and availability.works()

    def _has_fused_kernels(self, vector: Tensor) -> bool:
        return vector.device.type == "cpu" and vector.dtype == torch.float32

    def _displace(
        self, origin: Tensor, omega: Tensor, theta: Tensor, factors: Factors | None = None
    ) -> None:
        scaled, blocks = (omega * self._scale_on_cpu)[None], (self._key, self._bits, self.rest)
        kernels.project(scaled, self.native, *blocks, origin, theta[None], factors)

    def _adjoint_of_pieces(
        self, pieces: Sequence[Tensor], factors: Factors | None = None
    ) -> Tensor:
        omega = kernels.adjoint_of_pieces(
            pieces, self.native, self.dim, self._key, self._bits, self.rest, _PARTS, factors
        )[0]
        return omega.mul_(self._scale_on_cpu)

    @functools.cached_property
    def _scale_on_cpu(self) -> Tensor:
        return self._scale(torch.empty(0, dtype=torch.float32, device="cpu"))

    def _scale(self, like: Tensor) -> Tensor:
        """1/√n_c of each column."""
        rows = like.new_full((self.dim,), self.native // self.dim)
        rows[: self.native % self.dim] += 1
        return rows.rsqrt()

    def _rows(
        self, like: Tensor, blocks: range | None = None
    ) -> Iterator[tuple[int, int, Tensor, Tensor]]:
        """Yields (start, stop, columns, signs) of rows start … stop − 1, a few blocks at a time."""
        size = 1 << self._bits
        step = max(1, _CHUNK // size)
        index = torch.arange(size, device=like.device)
        first, last = (blocks.start, blocks.stop) if blocks else (0, self._full + 1)
        for block in range(first, min(last, self._full), step):
            end = min(block + step, last, self._full)
            numbers = torch.arange(block, end, device=like.device)
            keyed = permutations.permutation_keys(self._key, numbers)
            places = permutations.permute_index(index.expand(len(numbers), size), keyed, self._bits)
            columns = (places + size * numbers[:, None]) % self.dim
            signs = permutations.signs(self._key, numbers, 0, size).to(like.dtype)
            yield block * size, end * size, columns.flatten(), signs.flatten()
        if len(self.rest) and last > self._full:
            start = self._full * size
            number = torch.arange(self._full, self._full + 1, device=like.device)
            signs = permutations.signs(self._key, number, 0, len(self.rest))[0].to(like.dtype)
            yield start, self.native, (self.rest.long() + start) % self.dim, signs


def _bits(dim: int) -> int:
    return max(_MIN_BITS, (2 * dim - 1).bit_length())
