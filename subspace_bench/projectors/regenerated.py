"""Dense projectors that are never stored: entries are recomputed at each use.

P_ij is a function of (seed, i, j) only: Philox-4x32-10 (philox.py) of a counter with i and j.
It needs memory only for θ and ω: Pω = Σ_j ω_j p_j and (Pᵀθ)_j = Σ_i P_ij θ_i, tile by tile.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from importlib import import_module
from itertools import product
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from subspace_bench.common import rng
from subspace_bench.common.large_pages import empty_in_large_pages
from subspace_bench.kernels.cpu import regenerated as kernels
from subspace_bench.kernels.triton import availability
from subspace_bench.projectors import philox
from subspace_bench.projectors.base import ColumnNorms, Footprint, PredictedSeconds
from subspace_bench.projectors.rows import ProjectorByRows

ROWS, COLUMNS = 1 << 13, 1 << 5  # of a tile: multiples of 512 and 4, the periods of the counters
ENTRY = 40  # bytes per entry of a tile while plain PyTorch computes it
STREAM = "projector regenerated"
BLOCK = 1 << 9  # rows of a block that can be computed alone
FEW = {"cpu": 4, "cuda": 32}  # the most vectors for a kernel; for more, tiles are matrix products


class Regenerated(ProjectorByRows):
    """P_ij ~ N(0, 1/D), computed at each use: no memory except ω and θ.

    √D·P_ij is number (i // 16) % 4 of the counter (16·(i // 64) + i % 16, j, 0, 0) under the key
    `rng.key(seed, STREAM)`, as in `philox.normals`.
    Equivalent in NumPy: `rng.standard_normal((D, d)) / sqrt(D)`, with a generator of the same seed
    for each product.

    Attributes:
        kind: third word of the counter, so that kinds draw different numbers.
        entry_rate: entries per second on one thread, for `predicted_seconds`.
    """

    kind: ClassVar[int] = 0
    entry_rate: ClassVar[float] = 1.5e9

    def __init__(self, native: int, dim: int, seed: int) -> None:
        super().__init__(native, dim, seed)
        self.key = rng.key(seed, STREAM)
        self.scale = native**-0.5

    @classmethod
    def footprint(cls, native: int, dim: int, itemsize: int = 4) -> Footprint:
        tile = 0
        if itemsize == 8:  # plain PyTorch computes whole blocks; the kernels keep no entry
            tile = ENTRY * min(ROWS, native + 511) * min(COLUMNS, dim + 3)
        return Footprint(resident_bytes=0, workspace_bytes=tile + 80 * dim)

    @classmethod
    def predicted_seconds(cls, native: int, dim: int, threads: int = 1) -> PredictedSeconds:
        """No set-up; every entry is generated twice in an update."""
        return PredictedSeconds(0.0, 2 * native * dim / cls.entry_rate / threads)

    def _project(self, omega: Tensor) -> Tensor:
        if module := self._triton_kernels(omega):
            theta = omega.new_empty(len(omega), self.native)
            module.project(omega * self.scale, theta, self.key, self.kind)
            return theta
        return self._project_blocks(omega, range(len(self.block_starts) - 1))

    def _adjoint(self, theta: Tensor) -> Tensor:
        if module := self._triton_kernels(theta):
            gamma = theta.new_empty(len(theta), self.dim)
            module.adjoint(theta, gamma, self.key, self.kind)
            return gamma.mul_(self.scale)
        return self._adjoint_of_blocks(theta, range(len(self.block_starts) - 1))

    @functools.cached_property
    def block_starts(self) -> np.ndarray:
        return np.append(np.arange(0, self.native, BLOCK), self.native)

    def _project_blocks(self, omega: Tensor, blocks: range) -> Tensor:
        omega = omega * self.scale
        start, stop = self.block_starts[[blocks.start, blocks.stop]].tolist()
        if self._has_kernels(omega):
            theta = empty_in_large_pages(omega, len(omega), stop - start)
            kernels.project(omega, theta, self.key, self.kind, start)
            return theta
        theta = omega.new_zeros(len(omega), stop - start)
        for rows, columns in self._tiles(start, stop):
            tile = self._tile(rows, columns, omega)
            theta[:, rows.start - start : rows.stop - start].addmm_(omega[:, columns], tile)
        return theta

    def _adjoint_of_blocks(self, theta: Tensor, blocks: range) -> Tensor:
        start, stop = self.block_starts[[blocks.start, blocks.stop]].tolist()
        if self._has_kernels(theta):
            gamma = theta.new_empty(len(theta), self.dim)
            kernels.adjoint(theta, gamma, self.key, self.kind, start)
            return gamma.mul_(self.scale)
        gamma = theta.new_zeros(len(theta), self.dim)
        for rows, columns in self._tiles(start, stop):
            part = theta[:, rows.start - start : rows.stop - start]
            gamma[:, columns].addmm_(part, self._tile(rows, columns, theta).T)
        return gamma.mul_(self.scale)

    def _tile(self, rows: slice, columns: slice, like: Tensor) -> Tensor:
        """√D·P of some rows and columns, transposed: (c, r), in the dtype of `like`."""
        if like.dtype == torch.float32 and like.device.type == "cpu":
            tile = like.new_empty(columns.stop - columns.start, rows.stop - rows.start)
            kernels.fill(tile, self.key, self.kind, rows.start, columns.start)
            return tile
        return self.entries(rows, columns, like.device).to(like.dtype)

    def _tiles(self, start: int, stop: int) -> Iterator[tuple[slice, slice]]:
        """(rows, columns) of every tile of some rows."""
        return product(_cuts(start, stop, ROWS), _cuts(0, self.dim, COLUMNS))

    def _has_kernels(self, vectors: Tensor) -> bool:
        """Whether there are kernels for these vectors, which compute entries in registers."""
        few = len(vectors) <= FEW.get(vectors.device.type, -1)
        return few and vectors.dtype == torch.float32 and not vectors.is_cuda

    def _triton_kernels(self, vectors: Tensor) -> Any:
        """Likewise on CUDA, for whole vectors; None for others."""
        few = len(vectors) <= FEW["cuda"]
        if not few or vectors.dtype != torch.float32 or not vectors.is_cuda:
            return None
        found = availability.works()
        return import_module("subspace_bench.kernels.triton.regenerated") if found else None

    def entries(self, rows: slice, columns: slice, device: torch.device | str = "cpu") -> Tensor:
        """√D·P of rows and columns, transposed: (c, r) float32, in plain PyTorch.

        Arguments:
            rows: starts at a multiple of 512.
            columns: starts at a multiple of 4.
        """
        places = torch.arange(columns.start, columns.stop, device=device)
        return philox.normals(self.key, rows.start, rows.stop, places, self.kind)


class RegeneratedSigns(Regenerated):
    """P_ij = ±1/√D, computed at each use from one bit per entry; columns have norm exactly 1.

    P_ij is negative where bit 31 − (i // 16) % 32 is set in word j % 4 of the counter
    (16·(i // 512) + i % 16, j // 4, 1, 0) under the key `rng.key(seed, STREAM)`.
    Equivalent in NumPy: `rng.choice([-1, 1], (D, d)) / sqrt(D)`, with a generator of the same seed
    for each product.
    """

    kind = 1
    entry_rate = 1.5e10

    @classmethod
    def column_norms(cls, native: int, dim: int) -> ColumnNorms:
        return "unit"

    def entries(self, rows: slice, columns: slice, device: torch.device | str = "cpu") -> Tensor:
        """√D·P, as in `Regenerated`."""
        blocks = torch.arange(rows.start // 512, -(-rows.stop // 512), device=device)
        lanes = torch.arange(16, device=device)
        c1 = torch.arange(columns.start // 4, -(-columns.stop // 4), device=device)[:, None, None]
        c2 = torch.full_like(lanes, self.kind)
        words = torch.stack(philox.words(self.key, 16 * blocks[:, None] + lanes, c1, c2), dim=1)
        words = words.flatten(0, 1)[: columns.stop - columns.start]  # (c, blocks, 16)
        shifts = torch.arange(31, -1, -1, device=device)[:, None]
        shape = (len(words), len(blocks), 32, 16)
        signs = torch.empty(shape, dtype=torch.float32, device=device)
        # Column by column, as the shifted words take 8 bytes an entry.
        for part, word in zip(signs, words, strict=True):
            part.copy_((word[:, None] >> shifts) & 1).mul_(-2).add_(1)
        return signs.flatten(1)[:, : rows.stop - rows.start]


def _cuts(start: int, stop: int, step: int) -> list[slice]:
    return [slice(i, min(i + step, stop)) for i in range(start, stop, step)]
