"""Fastfood: P = S H G Π H B in blocks of n rows (Le, Sarlós and Smola, ICML 2013).

B are random signs, Π is a permutation (permutations.py), G ~ N(0, 1), and H is the Hadamard matrix.
S = χ_n / (√(nD)·‖G‖) gives rows the norms of a Gaussian matrix. ω is padded with zeros to n; blocks
are stacked, and the last is cut at row D.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from subspace_bench.common import rng
from subspace_bench.common.errors import UserError
from subspace_bench.kernels.cpu import fastfood as kernels
from subspace_bench.kernels.cpu.pieces import Factors
from subspace_bench.kernels.triton import availability
from subspace_bench.projectors import permutations, philox
from subspace_bench.projectors.base import Footprint
from subspace_bench.projectors.hadamard import hadamard_
from subspace_bench.projectors.rows import ProjectorByRows

STORED = 1 << 27  # the most rows for which G and S are stored; beyond, they are recomputed
_MIN_LEVELS = 8  # log2 of the least n: shorter blocks save nothing, with rows less Gaussian
_LENGTHS = 3  # third word of the Philox counter of S; G has 0, and permutations.py has 1 and 2
_CHUNK = 1 << 20  # rows that plain PyTorch handles at a time
_TRITON_CHUNK = 1 << 23  # likewise for kernels of one step each: 96 MB, but launches cost more


class Fastfood(ProjectorByRows):
    """D·log d operations and 8 bytes a row (0 beyond 2^27 rows); column norms 1 in expectation.

    n = 2^⌈log2 d⌉, at least 256. Equivalent in NumPy, for one block:
    `s * (H @ (g * (H @ (b * np.pad(omega, (0, n - d))))[pi]))` with H = `scipy.linalg.hadamard(n)`.

    Arguments:
        stored: whether to store G and S, up to 2^27 rows; else they are computed at each use.
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"stored"})
    g: Tensor
    s: Tensor

    def __init__(self, native: int, dim: int, seed: int, stored: bool = True) -> None:
        super().__init__(native, dim, seed)
        self._build([native], stored)

    def _build(self, layers: list[int], stored: bool) -> None:
        """Sets up the blocks; every layer starts a new block."""
        native, self._levels = self.native, _levels(self.dim)
        self._key = rng.key(self.seed, "projector fastfood")
        self._layers = layers
        self._all = range(len(self.block_starts) - 1)
        rows = len(self._all) << self._levels
        self._stored = stored and rows <= STORED
        for name, size in (("g", rows), ("s", native)):
            buffer = torch.empty(size if self._stored else 0, dtype=torch.float32, device="cpu")
            self.register_buffer(name, buffer, persistent=False)
        if self._stored:
            kernels.diagonals(self._key, self.block_starts, self._levels, self.g, self.s)

    @classmethod
    def footprint(cls, native: int, dim: int, itemsize: int = 4) -> Footprint:
        size = 1 << _levels(dim)
        rows = -(-native // size) * size
        stored = rows <= STORED
        working = 4 * 16 * min(dim, native // 16 + size)  # partial sums of the adjoint
        if itemsize == 8:  # plain PyTorch: bytes per row of the blocks that it handles at a time
            working = (56 if stored else 104) * min(rows, max(_CHUNK, size)) + 8 * dim
        return Footprint(
            resident_bytes=4 * (rows + native) if stored else 0, workspace_bytes=working
        )

    @functools.cached_property
    def block_starts(self) -> np.ndarray:
        return _starts(self._layers, 1 << self._levels)

    def _project(self, omega: Tensor) -> Tensor:
        return self._project_blocks(omega, self._all)

    def _adjoint(self, theta: Tensor) -> Tensor:
        return self._adjoint_of_blocks(theta, self._all)

    def _project_blocks(self, omega: Tensor, blocks: range) -> Tensor:
        if self._has_fused_kernels(omega):
            return kernels.project(omega, *self._blocks(blocks))
        begin, end = self.block_starts[[blocks.start, blocks.stop]].tolist()
        theta = omega.new_empty(len(omega), end - begin)
        for chunk, start, stop in self._chunks(blocks, omega):
            g, s = self._diagonals(chunk, start, stop, omega)
            piece = theta[:, start - begin : stop - begin]
            if module := self._triton_kernels(omega):
                module.project(omega, g, s, piece, self._key, chunk.start)
                continue
            mixed = omega.new_zeros(len(omega), len(chunk), 1 << self._levels)
            mixed[:, :, : self.dim] = omega[:, None]
            mixed = hadamard_(multiply_signs_(mixed, self._key, chunk))
            mixed = hadamard_(permute(mixed, g, self._key, chunk, scatter=False))
            torch.mul(mixed.flatten(1)[:, : stop - start], s, out=piece)
        return theta

    def _adjoint_of_blocks(self, theta: Tensor, blocks: range) -> Tensor:
        if self._has_fused_kernels(theta):
            return kernels.adjoint(theta, self.dim, *self._blocks(blocks))
        module, size = self._triton_kernels(theta), 1 << self._levels
        parts = module.parts(len(blocks), size, len(theta)) if module else 1
        sums = theta.new_zeros(parts, len(theta), self.dim)
        begin = int(self.block_starts[blocks.start])
        for chunk, start, stop in self._chunks(blocks, theta):
            g, s = self._diagonals(chunk, start, stop, theta)
            piece = theta[:, start - begin : stop - begin]
            if module:
                module.adjoint(piece, g, s, sums, self._key, chunk.start)
                continue
            mixed = theta.new_zeros(len(theta), len(chunk), size)
            torch.mul(piece, s, out=mixed.flatten(1)[:, : stop - start])
            mixed = permute(hadamard_(mixed), g, self._key, chunk, scatter=True)
            mixed = multiply_signs_(hadamard_(mixed), self._key, chunk)
            sums[0] += mixed.sum(1)[:, : self.dim]
        return sums.sum(0)

    def _has_fused_kernels(self, vector: Tensor) -> bool:
        return vector.device.type == "cpu" and vector.dtype == self.g.dtype == torch.float32

    def _displace(
        self, origin: Tensor, omega: Tensor, theta: Tensor, factors: Factors | None = None
    ) -> None:
        blocks = self._blocks(self._all)
        kernels.project(omega[None], *blocks, origin, theta[None], factors)

    def _adjoint_of_pieces(
        self, pieces: Sequence[Tensor], factors: Factors | None = None
    ) -> Tensor:
        blocks = self._blocks(self._all)
        return kernels.adjoint_of_pieces(pieces, self.dim, *blocks, factors)[0]

    def _blocks(
        self, blocks: range
    ) -> tuple[tuple[int, int], np.ndarray, int, Tensor, Tensor, int, int]:
        """The arguments of kernels besides the vectors."""
        starts = self.block_starts[blocks.start : blocks.stop + 1]
        g, s = self.g, self.s
        if self._stored:
            g = g[blocks.start << self._levels : blocks.stop << self._levels]
            s = s[starts[0] : starts[-1]]
        return self._key, starts - starts[0], self._levels, g, s, self.native, blocks.start

    def _triton_kernels(self, vectors: Tensor) -> Any:
        """The kernels for whole blocks on CUDA; None where there are none."""
        if not _on_triton(vectors):
            return None
        module = import_module("subspace_bench.kernels.triton.fastfood_blocks")
        return module if self._levels <= module.MOST_LEVELS else None

    def _chunks(self, blocks: range, vectors: Tensor) -> Iterator[tuple[range, int, int]]:
        """Yields (numbers of some of the blocks, in one layer; start, stop of their rows)."""
        size = 1 << self._levels
        step = max(1, self._chunk_rows(vectors) // (size * max(1, len(vectors))))
        first = 0
        for layer in self._layers:
            last = first - (-layer // size)
            for i in range(max(first, blocks.start), min(last, blocks.stop), step):
                chunk = range(i, min(i + step, last, blocks.stop))
                start, stop = self.block_starts[[chunk.start, chunk.stop]].tolist()
                yield chunk, start, stop
            first = last

    def _chunk_rows(self, vectors: Tensor) -> int:
        """The most rows to handle at a time, of all vectors."""
        if not self._stored or not _on_triton(vectors):
            return _CHUNK
        return 1 << 62 if self._triton_kernels(vectors) else _TRITON_CHUNK

    def _diagonals(
        self, blocks: range, start: int, stop: int, like: Tensor
    ) -> tuple[Tensor, Tensor]:
        """G (blocks, n) and S (stop − start,)."""
        size = 1 << self._levels
        if self._stored:
            g = self.g[blocks.start * size : blocks.stop * size].view(-1, size)
            s = self.s[start:stop]
        else:
            g, s = diagonals(self._key, _numbers(blocks, like), size, self.native)
            s = s.flatten()[: stop - start]
        return g.to(like.dtype), s.to(like.dtype)


class FastfoodLayers(Fastfood):
    """`Fastfood` with new blocks for each parameter of a model (Li et al., Aghajanyan et al.).

    Each layer has its own blocks and uses all of ω; n does not depend on the layer. A layer's last
    block is cut, but its G is stored in full.

    Arguments:
        layers: sizes of θ's parameters, in order; None means one layer of size D.
        stored: as of `Fastfood`.

    Raises:
        UserError: if the sizes do not add up to D.
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"layers", "stored"})

    def __init__(
        self,
        native: int,
        dim: int,
        seed: int,
        layers: list[int] | None = None,
        stored: bool = True,
    ) -> None:
        ProjectorByRows.__init__(self, native, dim, seed)
        layers = [native] if layers is None else list(layers)
        if sum(layers) != native or min(layers) < 0:
            raise UserError(
                f"the layers have {sum(layers):,} parameters in total, but D is {native:,}: "
                "give the size of every parameter of θ, in order"
            )
        self._build([layer for layer in layers if layer], stored)

    @classmethod
    def footprint(
        cls, native: int, dim: int, itemsize: int = 4, layers: list[int] | None = None
    ) -> Footprint:
        """See `Projector.footprint`; `layers` as in the constructor."""
        whole = Fastfood.footprint(native, dim, itemsize)
        size = 1 << _levels(dim)
        rows = sum(-(-layer // size) * size for layer in layers or [native])
        return Footprint(4 * (rows + native) if rows <= STORED else 0, whole.workspace_bytes)

    def identity(self) -> dict[str, Any]:
        """Includes the sizes of the layers."""
        return {**super().identity(), "layers": self._layers}


def _on_triton(x: Tensor) -> bool:
    return x.is_cuda and x.dtype == torch.float32 and availability.works()


def multiply_signs_(x: Tensor, key: tuple[int, int], blocks: range) -> Tensor:
    """B x of each block of x (rows, blocks, n), in place."""
    if _on_triton(x):
        from subspace_bench.kernels.triton import fastfood

        fastfood.multiply_signs_(x, key, blocks.start)
        return x
    return x.mul_(permutations.signs(key, _numbers(blocks, x), 0, x.shape[-1]).to(x.dtype))


def permute(x: Tensor, g: Tensor, key: tuple[int, int], blocks: range, scatter: bool) -> Tensor:
    """G Π x of each block of x (rows, blocks, n), or with `scatter` the adjoint Πᵀ G x."""
    if _on_triton(x):
        from subspace_bench.kernels.triton import fastfood

        return fastfood.permute(x, g, key, blocks.start, scatter)
    numbers, size = _numbers(blocks, x), x.shape[-1]
    index = torch.arange(size, device=x.device).expand(len(blocks), size)
    places = permutations.permute_index(
        index, permutations.permutation_keys(key, numbers), size.bit_length() - 1
    ).expand_as(x)
    if scatter:
        return torch.empty_like(x).scatter_(2, places, x * g)
    return x.gather(2, places).mul_(g)


def diagonals(
    key: tuple[int, int], blocks: Tensor, size: int, native: int
) -> tuple[Tensor, Tensor]:
    """G and S, (blocks, n) each, float32: `fill_block` of kernels/cpu/fastfood.py in PyTorch."""
    g, z = (philox.normals(key, 0, size, blocks, what) for what in (0, _LENGTHS))
    # χ_n² ≈ n·y³ for a normal y with these moments (Wilson and Hilferty 1931).
    variance = 2 / (9 * size)
    y = 1 - variance + variance**0.5 * z.double()
    norm = g.double().square().sum(1, keepdim=True)
    return g, (y * y.sqrt() / (norm * native).sqrt()).float()


def _numbers(blocks: range, like: Tensor) -> Tensor:
    return torch.arange(blocks.start, blocks.stop, device=like.device)


def _levels(dim: int) -> int:
    """log2 of n."""
    return max(_MIN_LEVELS, (dim - 1).bit_length())


def _starts(layers: list[int], size: int) -> np.ndarray:
    """The first row of each block, then D."""
    ends = np.cumsum([0, *layers])
    pieces = [np.arange(a, b, size) for a, b in itertools.pairwise(ends)]
    return np.concatenate([*pieces, ends[-1:]]).astype(np.int64)
