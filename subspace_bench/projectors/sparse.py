"""Sparse projectors: P_ij is ±c with probability p, else 0, with E‖p_j‖² = D·p·c² = 1.

`sparse` has p = 1/√D (Li, Hastie and Church 2006; used by Li et al. 2018, arXiv 1804.08838), and
`sparse-signs` p = 1/3 (Achlioptas 2003).
"""

from __future__ import annotations

import math
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from subspace_bench.common.rng import generator
from subspace_bench.kernels.cpu import sparse as kernels
from subspace_bench.kernels.triton import availability
from subspace_bench.projectors.base import (
    DRAW_RATE,
    READ_RATE,
    Footprint,
    PredictedSeconds,
    Projector,
)
from subspace_bench.projectors.dense import column_blocks, conversion_bytes

_DRAWN = 1 << 20  # approximate number of entries drawn from one random stream
_ROWS = 12  # log2 of the rows of a block: 16 KB of θ, which fit into the L1 cache
_PARTS = 16  # partial sums of the adjoint; a fixed number, so that bits do not depend on threads


class Sparse(Projector):
    """±D^(−1/4) with probability 1/√D: about √D entries per column, 4 bytes each.

    Equivalent in SciPy: a `csr_array` of these entries.
    `entries` is one list, sorted by blocks of rows. Its integers hold the row within the block in
    their high bits, and 2·column + sign in their low bits. Both products read the whole list in
    order. A loop over rows, as with CSR, would mispredict a branch per row, which costs more than
    the one or two entries of a row.
    Triton's kernels need a second list, sorted by column, another 4 bytes an entry: the first
    adjoint on CUDA makes it.
    """

    starts: Tensor
    entries: Tensor
    pointers: Tensor | None  # see kernels/triton/sparse.by_column
    by_column: Tensor | None

    def __init__(self, native: int, dim: int, seed: int) -> None:
        super().__init__(native, dim, seed)
        self._low, high = _bits(self.dim)
        self._rows = 1 << high
        step = max(1, int(_DRAWN * math.sqrt(native) / dim))
        counts = np.zeros(-(-native // self._rows) + 1, np.int64)
        entries = []
        for block, begin in enumerate(range(0, native, step)):
            rows = min(step, native - begin)
            places, signs = bernoulli_positions(rows * dim, native**-0.5, seed, block)
            row = begin + places // dim
            np.add.at(counts, 1 + (row >> high), 1)
            packed_row = (row & (self._rows - 1)) << self._low
            entries.append((packed_row + 2 * (places % dim) + signs).astype(np.int32))
        starts = torch.from_numpy(np.cumsum(counts))
        self.register_buffer("starts", starts, persistent=False)
        self.register_buffer("entries", torch.from_numpy(np.concatenate(entries)), persistent=False)
        for name in ("pointers", "by_column"):
            self.register_buffer(name, None, persistent=False)

    @classmethod
    def footprint(cls, native: int, dim: int, itemsize: int = 4) -> Footprint:
        entries = dim * math.sqrt(native)
        drawn = min(entries, _DRAWN + dim / math.sqrt(native))
        blocks = -(-native // (1 << _bits(dim)[1])) + 1
        drawing = 4 * entries + 48 * drawn  # on CUDA for the entries by column, and making them
        # Plain PyTorch needs the rows and columns of all entries in int64.
        applying = 8 * _PARTS * dim if itemsize == 4 else 32 * entries + 32 * dim
        return Footprint(int(8 * blocks + 4 * entries), workspace_bytes=int(max(drawing, applying)))

    @classmethod
    def predicted_seconds(cls, native: int, dim: int, threads: int = 1) -> PredictedSeconds:
        """Pω and Pᵀg each read the list of entries; only construction needs the workspace."""
        entries = dim * math.sqrt(native)
        return PredictedSeconds(entries / DRAW_RATE, 2 * 4 * entries / READ_RATE / threads)

    @classmethod
    def nonzero_rows(cls, native: int, dim: int) -> float:
        """1 − (1 − 1/√D)^d: every entry is nonzero with probability 1/√D."""
        return 1.0 - float((1 - native**-0.5) ** dim)

    def _project(self, omega: Tensor) -> Tensor:
        scale = self.native**-0.25
        if module := _triton_kernels(omega):
            shape = self._low, self.native, self._rows
            image: Tensor = module.project(omega * scale, self.starts, self.entries, *shape)
            return image
        # What an entry adds to θ, by its low bits: ω_c at 2c and −ω_c at 2c + 1.
        table = torch.stack([omega * scale, omega * -scale], dim=2).flatten(1)
        if omega.device.type == "cpu" and omega.dtype == torch.float32:
            return kernels.gather(
                table, self.starts, self.entries, self._low, self._rows, self.native
            )
        theta = omega.new_zeros(len(omega), self.native)
        rows, columns = self._places()
        return theta.index_add_(1, rows, table[:, columns])

    def _adjoint(self, theta: Tensor) -> Tensor:
        if module := _triton_kernels(theta):
            if self.by_column is None:
                shape = self._low, self.native, self._rows, self.dim
                self.pointers, self.by_column = module.by_column(self.starts, self.entries, *shape)
            sums: Tensor = module.adjoint(theta, self.pointers, self.by_column)
            return sums.mul_(self.native**-0.25)
        if theta.device.type == "cpu" and theta.dtype == torch.float32:
            size = 2 * self.dim
            table = kernels.scatter(
                theta, self.starts, self.entries, self._low, self._rows, size, _PARTS
            )
        else:
            table = theta.new_zeros(len(theta), 2 * self.dim)
            rows, columns = self._places()
            table.index_add_(1, columns, theta[:, rows])
        omega: Tensor = (table[:, ::2] - table[:, 1::2]) * self.native**-0.25
        return omega

    def _places(self) -> tuple[Tensor, Tensor]:
        """(row, 2·column + sign) of each entry."""
        blocks = torch.arange(len(self.starts) - 1, device=self.starts.device)
        count = len(self.entries)  # told, so that CUDA does not wait for the sum of the counts
        first = blocks.repeat_interleave(self.starts.diff(), output_size=count) * self._rows
        return first + (self.entries >> self._low), self.entries & ((1 << self._low) - 1)


def _triton_kernels(vectors: Tensor) -> Any:
    """The kernels for CUDA; None for other vectors."""
    if not vectors.is_cuda or not availability.works():
        return None
    return import_module("subspace_bench.kernels.triton.sparse")


def _bits(dim: int) -> tuple[int, int]:
    """Bits of an entry that hold (2·column + sign, the row within a block)."""
    low = (2 * dim - 1).bit_length()
    return low, max(0, min(_ROWS, 31 - low))


def bernoulli_positions(
    size: int, chance: float, seed: int, block: int
) -> tuple[np.ndarray, np.ndarray]:
    """Positions below `size`, each drawn with probability `chance`, and their signs, 0 or 1.

    The gaps between positions are geometric, so only one number per position is drawn.
    """
    draw = generator(seed, "projector sparse", block)
    likely = int(size * chance + 6 * math.sqrt(size * chance)) + 16
    places = np.cumsum(draw.geometric(chance, likely)) - 1
    while places[-1] < size:
        places = np.append(places, places[-1] + np.cumsum(draw.geometric(chance, likely)))
    places = places[: np.searchsorted(places, size)]
    return places, draw.integers(0, 2, len(places))


class SparseSigns(Projector):
    """√(3/D) times −1, 0 or 1 with probabilities 1/6, 2/3, 1/6: two bits per entry.

    Equivalent in NumPy: `rng.choice([-1, 0, 1], (D, d), p=[1/6, 2/3, 1/6]) * sqrt(3/D)`.
    A third of the entries is nonzero, too many for a list. `words` has one int32 per 16 rows of a
    column: its low 16 bits mark nonzero entries, its high 16 bits negative ones. Kernels use both
    as masks.
    """

    words: Tensor

    def __init__(self, native: int, dim: int, seed: int) -> None:
        super().__init__(native, dim, seed)
        words = np.zeros((dim, -(-native // 16)), np.int32)
        for j in range(dim):
            # Of six equally likely numbers, 0 means +1 and 1 means −1.
            draw = generator(seed, "projector sparse-signs", j)
            drawn = draw.integers(0, 6, native, dtype=np.uint8)
            words[j] = pack_bits(drawn < 2) | pack_bits(drawn == 1) << 16
        self.register_buffer("words", torch.from_numpy(words), persistent=False)

    @classmethod
    def footprint(cls, native: int, dim: int, itemsize: int = 4) -> Footprint:
        # One column is drawn, or θ is padded; plain PyTorch unpacks columns in int64.
        working = 2 * conversion_bytes(native, dim, itemsize) if itemsize == 8 else 5 * native
        return Footprint(resident_bytes=4 * dim * -(-native // 16), workspace_bytes=working)

    @classmethod
    def predicted_seconds(cls, native: int, dim: int, threads: int = 1) -> PredictedSeconds:
        """As the default, but all D·d entries are drawn from bytes, which is five times as fast."""
        default = super().predicted_seconds(native, dim, threads)
        return replace(default, set_up=native * dim / (5 * DRAW_RATE))

    def _project(self, omega: Tensor) -> Tensor:
        omega = omega * math.sqrt(3 / self.native)
        if omega.device.type == "cpu" and omega.dtype == torch.float32:
            return kernels.ternary_project(self.words, omega, self.native)
        theta = omega.new_zeros(len(omega), self.native)
        for columns in column_blocks(self.native, self.dim):
            theta.addmm_(omega[:, columns], self._unpacked(columns, omega))
        return theta

    def _adjoint(self, theta: Tensor) -> Tensor:
        if theta.device.type == "cpu" and theta.dtype == torch.float32:
            omega = kernels.ternary_adjoint(self.words, theta)
        else:
            blocks = column_blocks(self.native, self.dim)
            omega = torch.cat([theta @ self._unpacked(c, theta).T for c in blocks], dim=1)
        return omega * math.sqrt(3 / self.native)

    def _unpacked(self, columns: slice, like: Tensor) -> Tensor:
        """−1, 0, 1 of some columns (k, D)."""
        bits = torch.arange(16, device=self.words.device)
        words = self.words[columns, :, None]
        nonzero, negative = (words >> bits) & 1, (words >> (bits + 16)) & 1
        signs = (nonzero - 2 * negative).flatten(1)[:, : self.native]
        return signs.to(like.dtype)


def pack_bits(bits: np.ndarray) -> np.ndarray:
    """Booleans, 16 to an int32, the first in the lowest bit."""
    padded = np.pad(bits, (0, -len(bits) % 16))
    return np.packbits(padded, bitorder="little").view("<u2").astype(np.int32)
