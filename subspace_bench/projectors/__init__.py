"""Projectors: fixed random linear maps P: R^d → R^D, by name."""

from subspace_bench.projectors.base import ColumnNorms, Footprint, Projector
from subspace_bench.projectors.dense import Dense
from subspace_bench.projectors.registry import column_norms, footprint, load, make, names

__all__ = [
    "ColumnNorms",
    "Dense",
    "Footprint",
    "Projector",
    "column_norms",
    "footprint",
    "load",
    "make",
    "names",
]
