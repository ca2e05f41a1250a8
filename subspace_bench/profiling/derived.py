"""Quantities derived from the columns of a timing table.

A product reads or writes the stored P, ω and θ once each. The bytes moved per second are compared
with the speed of reading the same memory.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch

from subspace_bench import projectors
from subspace_bench.common.errors import UserError

Row = dict[Any, Any]  # a row of the table with the derived columns


def with_derived(frame: pd.DataFrame) -> pd.DataFrame:
    """A timing table with derived columns, NaN where a case was not measured.

    `ms`: forward and transpose together. `theta_bytes`: bytes of one θ. `peak_thetas`: peak
    memory in copies of θ. `nonzero_rows`: fraction of θ that P moves. `moved_bytes`: moved by both
    products. `gbs`: `moved_bytes` per `ms`, in GB/s. `read_limit`: GB/s when only reading that
    memory.
    """
    return pd.DataFrame([derive(row) for row in frame.to_dict("records")])


def successful(measurements: pd.DataFrame) -> pd.DataFrame:
    """Only the cases that were measured in float32."""
    return measurements[(measurements["status"] == "ok") & (measurements["dtype"] == "float32")]


def derive(row: Row) -> Row:
    """A row of the table with its derived columns; see `with_derived`."""
    native, dim = int(row["native"]), int(row["dim"])
    itemsize = getattr(torch, row["dtype"]).itemsize
    theta, resident = native * itemsize, float(row["resident_bytes"])
    try:
        nonzero = projectors.nonzero_rows(row["projector"], native, dim)
    except UserError:  # a plug-in's projector that is no longer installed
        nonzero = 1.0
    moved = moved_bytes(resident, native, dim, itemsize, nonzero)
    ms = float(row["forward_ms"]) + float(row["transpose_ms"])
    # If P is most of what moves, the speed of reading P is the limit; else the memory bandwidth.
    uses_read_of_p = not pd.isna(row.get("read_ms")) and 4 * resident >= moved
    return {
        **row,
        "ms": ms,
        "theta_bytes": theta,
        "peak_thetas": float(row["peak_bytes"]) / theta,
        "nonzero_rows": nonzero,
        "moved_bytes": moved,
        "gbs": moved / ms / 1e6,
        "read_limit": resident / row["read_ms"] / 1e6 if uses_read_of_p else float(row["read_gbs"]),
    }


def moved_bytes(resident: float, native: int, dim: int, itemsize: int, nonzero: float) -> float:
    """Bytes that Pω and Pᵀθ move together: P and ω twice, and θ, of which Pᵀθ may read a part."""
    return 2 * (resident + dim * itemsize) + (1 + nonzero) * native * itemsize
