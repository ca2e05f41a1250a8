"""Fastfood: P = S H G Π H B in blocks of n rows (Le, Sarlós and Smola, ICML 2013).

B are random signs, Π is a permutation (permutations.py), G ~ N(0, 1), and H is the Hadamard matrix.
S = χ_n / (√(nD)·‖G‖) gives rows the norms of a Gaussian matrix. ω is padded with zeros to n; blocks
are stacked, and the last is cut at row D.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
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
from subspace_bench.projectors.base import Footprint, Projector
from subspace_bench.projectors.hadamard import hadamard_

STORED = 1 << 27  # the most rows for which G and S are stored; beyond, they are recomputed
_MIN_LEVELS = 8  # log2 of the least n: shorter blocks save nothing, with rows less Gaussian
_LENGTHS = 3  # third word of the Philox counter of S; G has 0, and permutations.py has 1 and 2
_CHUNK = 1 << 20  # rows that plain PyTorch handles at a time


class Fastfood(Projector):
    """D·log d operations and 8 bytes a row (0 beyond 2^27 rows); column norms 1 in expectation.

    n = 2^⌈log2 d⌉, at least 256. Equivalent in NumPy, for one block:
    `s * (H @ (g * (H @ (b * np.pad(omega, (0, n - d))))[pi]))` with H = `scipy.linalg.hadamard(n)`.
    """

    g: Tensor
    s: Tensor

    def __init__(self, native: int, dim: int, seed: int) -> None:
        super().__init__(native, dim, seed)
        self._build([native])

    def _build(self, layers: list[int]) -> None:
        """Sets up the blocks; every layer starts a new block."""
        native, self._levels = self.native, _levels(self.dim)
        self._key = rng.key(self.seed, "projector fastfood")
        self._layers = layers
        self._starts = _starts(layers, 1 << self._levels)
        rows = (len(self._starts) - 1) << self._levels
        self._stored = rows <= STORED
        for name, size in (("g", rows), ("s", native)):
            buffer = torch.empty(size if self._stored else 0, dtype=torch.float32, device="cpu")
            self.register_buffer(name, buffer, persistent=False)
        if self._stored:
            kernels.diagonals(self._key, self._starts, self._levels, self.g, self.s)

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

    def _project(self, omega: Tensor) -> Tensor:
        if self._has_fused_kernels(omega):
            return kernels.project(omega, *self._blocks())
        theta = omega.new_empty(len(omega), self.native)
        padded = omega.new_zeros(len(omega), 1, 1 << self._levels)
        padded[:, 0, : self.dim] = omega
        for blocks, start, stop in self._chunks(len(omega)):
            g, s = self._diagonals(blocks, start, stop, omega)
            mixed = padded.repeat(1, len(blocks), 1)
            mixed = hadamard_(multiply_signs_(mixed, self._key, blocks))
            mixed = hadamard_(permute(mixed, g, self._key, blocks, scatter=False))
            theta[:, start:stop] = mixed.flatten(1)[:, : stop - start].mul_(s)
        return theta

    def _adjoint(self, theta: Tensor) -> Tensor:
        if self._has_fused_kernels(theta):
            return kernels.adjoint(theta, self.dim, *self._blocks())
        omega = theta.new_zeros(len(theta), self.dim)
        for blocks, start, stop in self._chunks(len(theta)):
            g, s = self._diagonals(blocks, start, stop, theta)
            mixed = theta.new_zeros(len(theta), len(blocks), 1 << self._levels)
            mixed.flatten(1)[:, : stop - start] = theta[:, start:stop] * s
            mixed = permute(hadamard_(mixed), g, self._key, blocks, scatter=True)
            omega += multiply_signs_(hadamard_(mixed), self._key, blocks).sum(1)[:, : self.dim]
        return omega

    def _has_fused_kernels(self, vector: Tensor) -> bool:
        return vector.device.type == "cpu" and vector.dtype == self.g.dtype == torch.float32

    def _displace(
        self, origin: Tensor, omega: Tensor, theta: Tensor, factors: Factors | None = None
    ) -> None:
        kernels.project(omega[None], *self._blocks(), origin, theta[None], factors)

    def _adjoint_of_pieces(
        self, pieces: Sequence[Tensor], factors: Factors | None = None
    ) -> Tensor:
        return kernels.adjoint_of_pieces(pieces, self.dim, *self._blocks(), factors)[0]

    def _blocks(self) -> tuple[tuple[int, int], np.ndarray, int, Tensor, Tensor]:
        """The arguments of kernels besides the vectors."""
        return self._key, self._starts, self._levels, self.g, self.s

    def _chunks(self, rows: int) -> Iterator[tuple[range, int, int]]:
        """Yields (numbers of some blocks of one layer, start, stop of their rows), in order."""
        size = 1 << self._levels
        step = max(1, _CHUNK // (size * max(1, rows)))
        block, begin = 0, 0
        for layer in self._layers:
            count = -(-layer // size)
            for i in range(0, count, step):
                j = min(i + step, count)
                yield range(block + i, block + j), begin + i * size, begin + min(j * size, layer)
            block, begin = block + count, begin + layer

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

    Raises:
        UserError: if the sizes do not add up to D.
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"layers"})

    def __init__(self, native: int, dim: int, seed: int, layers: list[int] | None = None) -> None:
        Projector.__init__(self, native, dim, seed)
        layers = [native] if layers is None else list(layers)
        if sum(layers) != native or min(layers) < 0:
            raise UserError(
                f"the layers have {sum(layers):,} parameters in total, but D is {native:,}: "
                "give the size of every parameter of θ, in order"
            )
        self._build([layer for layer in layers if layer])

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


def multiply_signs_(x: Tensor, key: tuple[int, int], blocks: range) -> Tensor:
    """B x of each block of x (rows, blocks, n), in place."""
    if x.is_cuda and x.dtype == torch.float32 and availability.works():
        from subspace_bench.kernels.triton import fastfood

        fastfood.multiply_signs_(x, key, blocks.start)
        return x
    return x.mul_(permutations.signs(key, _numbers(blocks, x), 0, x.shape[-1]).to(x.dtype))


def permute(x: Tensor, g: Tensor, key: tuple[int, int], blocks: range, scatter: bool) -> Tensor:
    """G Π x of each block of x (rows, blocks, n), or with `scatter` the adjoint Πᵀ G x."""
    if x.is_cuda and x.dtype == torch.float32 and availability.works():
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
