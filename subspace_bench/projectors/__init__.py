"""Projectors: fixed random linear maps P: R^d → R^D, by name."""

from subspace_bench.projectors.base import (
    ColumnNorms,
    Footprint,
    LinearMap,
    PredictedSeconds,
    Projector,
)
from subspace_bench.projectors.dense import Dense
from subspace_bench.projectors.registry import (
    column_norms,
    footprint,
    load,
    make,
    make_by_rows,
    names,
    nonzero_rows,
    predicted_seconds,
)
from subspace_bench.projectors.rows import ProjectorByRows, Rows

__all__ = [
    "ColumnNorms",
    "Dense",
    "Footprint",
    "LinearMap",
    "PredictedSeconds",
    "Projector",
    "ProjectorByRows",
    "Rows",
    "column_norms",
    "footprint",
    "load",
    "make",
    "make_by_rows",
    "names",
    "nonzero_rows",
    "predicted_seconds",
]
