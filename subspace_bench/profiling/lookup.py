"""Queries on the timing table, and the quantities derived from its columns.

A product reads or writes the stored P, ω and θ once each. The bytes moved per second are compared
with the speed of reading the same memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch

from subspace_bench import projectors
from subspace_bench.common.errors import UserError

Size = tuple[int, int]  # (D, d)
Row = dict[str, Any]  # a row of the table with the derived columns


@dataclass(frozen=True)
class Measurements:
    """The rows of a timing table, with derived columns.

    `ms`: forward and transpose together. `theta_bytes`: bytes of one θ. `peak_thetas`: peak
    memory in copies of θ. `nonzero_rows`: fraction of θ that P moves. `moved_bytes`: moved by both
    products.
    `gbs`: `moved_bytes` per `ms`, in GB/s. `read_limit`: GB/s when only reading that memory.
    """

    rows: list[Row]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Measurements:
        return cls([derive(row) for row in frame.to_dict("records")])

    def successful(self, dtype: str = "float32") -> Measurements:
        """Only the cases that were measured in this dtype."""
        return Measurements([r for r in self.rows if r["status"] == "ok" and r["dtype"] == dtype])

    @property
    def sizes(self) -> list[Size]:
        """The (D, d) that occur, in order."""
        return sorted({(row["native"], row["dim"]) for row in self.rows})

    @property
    def projectors(self) -> list[str]:
        """Names in the order of the table."""
        return list(dict.fromkeys(row["projector"] for row in self.rows))

    def fastest_first(self, size: Size) -> list[Row]:
        """The rows at this (D, d), sorted by the time of both products."""
        rows = [row for row in self.rows if (row["native"], row["dim"]) == size]
        return sorted(rows, key=lambda row: float(row["ms"]))


def derive(row: dict[Any, Any]) -> Row:
    """A row of the table with its derived columns; NaN where the case was not measured."""
    native, dim = int(row["native"]), int(row["dim"])
    itemsize = getattr(torch, row["dtype"]).itemsize
    theta, resident = native * itemsize, float(row["resident_bytes"])
    try:
        nonzero = projectors.nonzero_rows(row["projector"], native, dim)
    except UserError:  # a plug-in's projector that is no longer installed
        nonzero = 1.0
    moved = 2 * (resident + dim * itemsize) + (1 + nonzero) * theta
    ms = float(row["forward_ms"]) + float(row["transpose_ms"])
    # If P is most of what moves, the speed of reading P is the limit; else the memory bandwidth.
    uses_read_of_p = not pd.isna(row.get("read_ms")) and 4 * resident >= moved
    return {
        **{str(name): value for name, value in row.items()},
        "ms": ms,
        "theta_bytes": theta,
        "peak_thetas": float(row["peak_bytes"]) / theta,
        "nonzero_rows": nonzero,
        "moved_bytes": moved,
        "gbs": moved / ms / 1e6,
        "read_limit": resident / row["read_ms"] / 1e6 if uses_read_of_p else float(row["read_gbs"]),
    }
