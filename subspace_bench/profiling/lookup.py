"""Queries on the timing table, and the quantities derived from its columns.

A product reads or writes P as stored, ω and θ once each; bytes moved over time is compared with
the speed at which the same memory is merely read.
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

    `ms`: forward and transpose together. `theta_bytes`: of one θ. `peak_thetas`: peak memory in
    copies of θ. `nonzero_rows`: fraction of θ that P moves. `moved_bytes`: by both products.
    `gbs`: bytes moved over `ms`. `read_limit`: GB/s at which that memory is merely read.
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
        here = [row for row in self.rows if (row["native"], row["dim"]) == size]
        return sorted(here, key=lambda row: float(row["ms"]))


def derive(row: dict[Any, Any]) -> Row:
    """A row of the table with its derived columns; NaN where the case was not measured."""
    native, dim = int(row["native"]), int(row["dim"])
    itemsize = getattr(torch, row["dtype"]).itemsize
    theta, resident = native * itemsize, float(row["resident_bytes"])
    try:
        nonzero = projectors.nonzero_rows(row["projector"], native, dim)
    except UserError:  # of another package that is no longer installed
        nonzero = 1.0
    moved = 2 * (resident + dim * itemsize) + (1 + nonzero) * theta
    ms = float(row["forward_ms"]) + float(row["transpose_ms"])
    # Only if P is most of what moves does reading P tell how fast that can be read.
    own_speed = not pd.isna(row.get("read_ms")) and 4 * resident >= moved
    return {
        **{str(name): value for name, value in row.items()},
        "ms": ms,
        "theta_bytes": theta,
        "peak_thetas": float(row["peak_bytes"]) / theta,
        "nonzero_rows": nonzero,
        "moved_bytes": moved,
        "gbs": moved / ms / 1e6,
        "read_limit": resident / row["read_ms"] / 1e6 if own_speed else float(row["read_gbs"]),
    }
