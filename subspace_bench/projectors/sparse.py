"""Sparse projectors: few entries, or entries of −1, 0 and 1, scaled to columns of unit length.

`sparse` has ±1 with probability 1/√D and zeros elsewhere (Li, Hastie and Church 2006, as Li et al.
2018, arXiv 1804.08838, use them); `sparse-signs` has −1, 0, 1 with 1/6, 2/3, 1/6 (Achlioptas 2003).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from subspace_bench.projectors.base import Footprint, Projector, Promise
from subspace_bench.projectors.dense import column_blocks
from subspace_bench.streams import generator

_DRAWN = 1 << 20  # entries that one stream gives, about
_PARTS = 16  # partial sums of an adjoint; fixed, so that results do not depend on the threads


class Sparse(Projector):
    """±D^(−1/4) with probability 1/√D: √D entries a column, by rows, one integer each.

    An entry is 2·column + sign. Equivalent in SciPy: a `csr_array` of these entries.
    """

    starts: Tensor
    entries: Tensor

    def __init__(self, native: int, dim: int, seed: int) -> None:
        super().__init__(native, dim, seed)
        rows = max(1, int(_DRAWN * math.sqrt(native) / dim))
        counts, entries = [np.zeros(1, np.int64)], []
        for block, begin in enumerate(range(0, native, rows)):
            found = bernoulli(min(rows, native - begin), dim, native**-0.5, seed, block)
            counts.append(found[0])
            entries.append(found[1])
        starts = np.cumsum(np.concatenate(counts))
        kind = np.int32 if starts[-1] < 1 << 31 else np.int64
        self.register_buffer("starts", torch.from_numpy(starts.astype(kind)), persistent=False)
        self.register_buffer("entries", torch.from_numpy(np.concatenate(entries)), persistent=False)

    @classmethod
    def footprint(cls, native: int, dim: int) -> Footprint:
        entries = dim * math.sqrt(native)
        wide = 4 if entries < 1 << 31 else 8
        drawn = int(8 * 6 * min(entries, _DRAWN + dim / math.sqrt(native)))
        return Footprint(
            held=int(wide * (native + 1) + 4 * entries),
            working=int(drawn + 16 * (native + 1) + 4 * entries + 8 * _PARTS * dim),
        )

    @classmethod
    def promises(cls, native: int, dim: int) -> Promise:
        return "expected"

    def _project(self, omega: Tensor) -> Tensor:
        scale = self.native**-0.25
        # What an entry stands for, by its number: ω_c at 2c and −ω_c at 2c + 1.
        table = torch.stack([omega * scale, omega * -scale], dim=2).flatten(1)
        if omega.device.type == "cpu" and omega.dtype == torch.float32:
            from subspace_bench.kernels.sparse import gather

            return gather(table, self.starts, self.entries)
        theta = omega.new_zeros(len(omega), self.native)
        return theta.index_add_(1, self._rows(), table[:, self.entries])

    def _adjoint(self, theta: Tensor) -> Tensor:
        if theta.device.type == "cpu" and theta.dtype == torch.float32:
            from subspace_bench.kernels.sparse import scatter

            table = scatter(theta, self.starts, self.entries, 2 * self.dim, _PARTS)
        else:
            table = theta.new_zeros(len(theta), 2 * self.dim)
            table.index_add_(1, self.entries, theta[:, self._rows()])
        omega: Tensor = (table[:, ::2] - table[:, 1::2]) * self.native**-0.25
        return omega

    def _rows(self) -> Tensor:
        """The row of each entry."""
        rows = torch.arange(self.native, device=self.starts.device)
        return rows.repeat_interleave(self.starts.diff())


def bernoulli(
    rows: int, dim: int, chance: float, seed: int, block: int
) -> tuple[np.ndarray, np.ndarray]:
    """How many entries each row has, and the entries, each there with the same chance.

    The gaps between entries, row after row, are geometric.
    """
    draw = generator(seed, "projector", block)
    size = rows * dim
    likely = int(size * chance + 6 * math.sqrt(size * chance)) + 16
    places = np.cumsum(draw.geometric(chance, likely)) - 1
    while places[-1] < size:
        places = np.append(places, places[-1] + np.cumsum(draw.geometric(chance, likely)))
    places = places[: np.searchsorted(places, size)]
    signs = draw.integers(0, 2, len(places), dtype=np.int32)
    counts = np.bincount(places // dim, minlength=rows)
    return counts, (2 * (places % dim)).astype(np.int32) + signs


class SparseSigns(Projector):
    """√(3/D) times −1, 0 or 1, two bits an entry.

    A third of the entries is too many for lists of them: 16 rows of a column are an int32 of which
    16 bits say where entries are and 16 where they are negative, added under masks, 16 at a time.
    Equivalent in NumPy: `rng.choice([-1, 0, 1], (D, d), p=[1/6, 2/3, 1/6]) * sqrt(3/D)`.
    """

    words: Tensor

    def __init__(self, native: int, dim: int, seed: int) -> None:
        super().__init__(native, dim, seed)
        words = np.zeros((dim, -(-native // 16)), np.int32)
        for j in range(dim):
            # Of six equally likely numbers 0 is +1 and 1 is −1.
            drawn = generator(seed, "projector", j).integers(0, 6, native, dtype=np.uint8)
            words[j] = packed(drawn < 2) | packed(drawn == 1) << 16
        self.register_buffer("words", torch.from_numpy(words), persistent=False)

    @classmethod
    def footprint(cls, native: int, dim: int) -> Footprint:
        return Footprint(held=4 * dim * -(-native // 16), working=4 * native)

    @classmethod
    def promises(cls, native: int, dim: int) -> Promise:
        return "expected"

    def _project(self, omega: Tensor) -> Tensor:
        omega = omega * math.sqrt(3 / self.native)
        if omega.device.type == "cpu" and omega.dtype == torch.float32:
            from subspace_bench.kernels.sparse import ternary_project

            return ternary_project(self.words, omega, self.native)
        theta = omega.new_zeros(len(omega), self.native)
        for columns in column_blocks(self.native, self.dim):
            theta.addmm_(omega[:, columns], self._unpacked(columns, omega))
        return theta

    def _adjoint(self, theta: Tensor) -> Tensor:
        if theta.device.type == "cpu" and theta.dtype == torch.float32:
            from subspace_bench.kernels.sparse import ternary_adjoint

            omega = ternary_adjoint(self.words, theta)
        else:
            blocks = column_blocks(self.native, self.dim)
            omega = torch.cat([theta @ self._unpacked(c, theta).T for c in blocks], dim=1)
        return omega * math.sqrt(3 / self.native)

    def _unpacked(self, columns: slice, like: Tensor) -> Tensor:
        """−1, 0, 1 of some columns (k, D)."""
        bits = torch.arange(16, device=self.words.device)
        words = self.words[columns, :, None]
        there, negative = (words >> bits) & 1, (words >> (bits + 16)) & 1
        signs = (there - 2 * negative).flatten(1)[:, : self.native]
        return signs.to(like.dtype)


def packed(bits: np.ndarray) -> np.ndarray:
    """Booleans, 16 to an int32, the first in the lowest bit."""
    padded = np.pad(bits, (0, -len(bits) % 16))
    return np.packbits(padded, bitorder="little").view("<u2").astype(np.int32)
