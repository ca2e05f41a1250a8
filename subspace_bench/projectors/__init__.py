"""Projectors: fixed random linear maps P: R^d → R^D, by name."""

from subspace_bench.projectors.base import Footprint, Projector, Promise
from subspace_bench.projectors.dense import Dense
from subspace_bench.projectors.registry import footprint, load, make, names, promise

__all__ = [
    "Dense",
    "Footprint",
    "Projector",
    "Promise",
    "footprint",
    "load",
    "make",
    "names",
    "promise",
]
