"""Some rows of a projector as a map of their own, for one that is nowhere whole.

Each rank of a sharded model makes the rows of its shards, from the same (D, d, seed).
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor, nn

from subspace_bench.projectors.base import LinearMap, Projector

_CHUNK = 1 << 18  # rows computed at a time: they stay in the cache until they are copied


class ProjectorByRows(Projector):
    """A projector that can compute blocks of rows alone, with no memory for the others."""

    @functools.cached_property
    @abstractmethod
    def block_starts(self) -> np.ndarray:
        """The first row of each block, then D, int64."""

    @abstractmethod
    def _project_blocks(self, omega: Tensor, blocks: range) -> Tensor:
        """`_project`, limited to the rows of consecutive blocks."""

    @abstractmethod
    def _adjoint_of_blocks(self, theta: Tensor, blocks: range) -> Tensor:
        """`_adjoint` of a θ that is zero outside of these rows, and is given without the zeros."""


class Rows(LinearMap):
    """Rows start … stop − 1 of P: R^d → R^(stop − start), computed without the other rows.

    Unlike other maps it may have fewer rows than columns. Its Pω has the bits of those rows of P's
    own; the sum of Pᵀθ over the parts of θ is rounded in another order.

    Arguments:
        whole: P.
        start: the first row.
        stop: the first row after them, start < stop ≤ D.
    """

    def __init__(self, whole: ProjectorByRows, start: int, stop: int) -> None:
        nn.Module.__init__(self)
        self.native, self.dim, self.seed = stop - start, whole.dim, whole.seed
        self.whole, self.start = whole, start
        starts = whole.block_starts
        first = int(np.searchsorted(starts, start, side="right")) - 1
        self._blocks = range(first, int(np.searchsorted(starts, stop, side="left")))

    def identity(self) -> dict[str, Any]:
        """Includes which rows."""
        return {**self.whole.identity(), "rows": [self.start, self.start + self.native]}

    def _project(self, omega: Tensor) -> Tensor:
        theta = omega.new_empty(len(omega), self.native)
        for blocks, ours, theirs in self._chunks():
            theta[:, ours] = self.whole._project_blocks(omega, blocks)[:, theirs]
        return theta

    def _adjoint(self, theta: Tensor) -> Tensor:
        omega = theta.new_zeros(len(theta), self.dim)
        starts = self.whole.block_starts
        for blocks, ours, theirs in self._chunks():
            rows = theta[:, ours]
            size = int(starts[blocks.stop] - starts[blocks.start])
            if rows.shape[1] < size:  # some rows of these blocks belong to others
                rows = rows.new_zeros(len(rows), size)
                rows[:, theirs] = theta[:, ours]
            omega += self.whole._adjoint_of_blocks(rows.contiguous(), blocks)
        return omega

    def _chunks(self) -> Iterator[tuple[range, slice, slice]]:
        """Yields (some blocks; which rows of ours they have; where they have these)."""
        starts = self.whole.block_starts
        first, last = self._blocks.start, self._blocks.stop
        while first < last:
            end = int(np.searchsorted(starts, starts[first] + _CHUNK, side="right")) - 1
            end = min(max(end, first + 1), last)
            base = int(starts[first])
            start, stop = max(base - self.start, 0), int(starts[end]) - self.start
            stop = min(stop, self.native)
            shift = self.start - base
            yield range(first, end), slice(start, stop), slice(start + shift, stop + shift)
            first = end
