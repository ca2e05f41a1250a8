"""Projectors by name."""

from __future__ import annotations

from torch import Tensor

from subspace_bench.errors import UserError
from subspace_bench.projectors.base import Dense, Projector
from subspace_bench.projectors.gaussian import Gaussian
from subspace_bench.projectors.orthonormal import Orthonormal

PROJECTORS: dict[str, type[Projector]] = {"gaussian": Gaussian, "orthonormal": Orthonormal}


def make(name: str, native: int, dim: int, seed: int, first: Tensor | None = None) -> Projector:
    """The projector called `name`; `first` (D,) is the first column's direction, where it has one.

    Raises:
        UserError: for an unknown name, a dimension outside 1 … D, or a `first` it has no use for.
    """
    if name not in PROJECTORS:
        raise UserError(f"unknown projector {name!r}: choose one of {', '.join(PROJECTORS)}")
    if first is None:
        return PROJECTORS[name](native, dim, seed)
    if name != "orthonormal":
        raise UserError(f"projector {name!r} has no first column to choose: use 'orthonormal'")
    return Orthonormal(native, dim, seed, first)


__all__ = ["PROJECTORS", "Dense", "Gaussian", "Orthonormal", "Projector", "make"]
