"""What `compare` measured, to look things up in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from subspace_bench.common.errors import UserError
from subspace_bench.profiling.timing import itemsize
from subspace_bench.projectors import nonzero_rows
from subspace_bench.reporting.statistics import Sample

Accuracies = Mapping[tuple[str, int], Sample]  # (projector, d) → accuracies over seeds
Size = tuple[int, int]  # (D, d)
Row = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """The cells that were measured, and the accuracies that projectors reach."""

    cells: pd.DataFrame
    accuracies: Accuracies

    def at(self, where: Size) -> dict[str, Row]:
        """projector → its cell at this (D, d), with `ms`, of forward and transpose."""
        frame = self.cells
        rows = frame[(frame.native == where[0]) & (frame.dim == where[1])].to_dict("records")
        return {
            str(row["projector"]): {
                **{str(k): v for k, v in row.items()}, "ms": row["forward_ms"] + row["transpose_ms"]
            }
            for row in rows
        }  # fmt: skip

    def ranked(self, where: Size) -> list[Row]:
        """The cells at this (D, d), that of the least time for forward and transpose first."""
        return sorted(self.at(where).values(), key=lambda row: float(row["ms"]))

    def sizes(self, *names: str) -> list[Size]:
        """(D, d) at which all of these were measured, or any where none is named; by D, then d."""
        frame = self.cells
        parts = [frame[frame.projector == name] for name in names] or [frame]
        found = [{(int(n), int(d)) for n, d in part[["native", "dim"]].values} for part in parts]
        return sorted(set.intersection(*found))

    def largest(self, *names: str) -> tuple[Size, list[Row]] | None:
        """The (D, d) of the most entries at which all of these were measured, and their cells."""
        where = max(self.sizes(*names), key=entries, default=None)
        return None if where is None else (where, [self.at(where)[name] for name in names])

    def crowded(self) -> Size:
        """The (D, d) at which the most projectors were measured; of several, of most entries."""
        counts = self.cells.groupby(["native", "dim"]).size()
        return max(
            ((int(n), int(d)) for n, d in counts[counts == counts.max()].index),
            key=entries,
        )


def entries(where: Size) -> int:
    """How many a dense P has."""
    return where[0] * where[1]


def moved_bytes(row: Row) -> float:
    """What forward and transpose must read and write at least: P as held, ω and θ, each.

    A transpose reads only the elements of θ where P has a nonzero row.
    """
    native, dim, one = int(row["native"]), int(row["dim"]), itemsize(row["dtype"])
    try:
        read = nonzero_rows(str(row["projector"]), native, dim)
    except UserError:  # measured with another package's projector that is no longer installed
        read = 1.0
    return 2 * (float(row["resident_bytes"]) + dim * one) + (1 + read) * native * one


def read_speed(row: Row) -> float:
    """GB/s at which what is held was read, in turn with the products; else memory's.

    Only where that is most of what moves does it tell how fast that can be read.
    """
    if pd.isna(row.get("read_ms")) or 4 * float(row["resident_bytes"]) < moved_bytes(row):
        return float(row["read_gbs"])
    return float(row["resident_bytes"] / row["read_ms"] / 1e6)
