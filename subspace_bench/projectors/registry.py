"""Projectors by name: ours, and those that other packages register.

A package adds a projector with the entry point group `subspace_bench.projectors`, a name for a
class that derives from `Projector`; it then works in every command, table, test and benchmark.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import get_args

import torch
from torch import Tensor

from subspace_bench.common.errors import UserError
from subspace_bench.common.formatting import format_bytes
from subspace_bench.common.hardware import available_memory
from subspace_bench.projectors.base import (
    HALF,
    ColumnNorms,
    Footprint,
    PredictedSeconds,
    Projector,
    check_sizes,
)

GROUP = "subspace_bench.projectors"
OURS = {
    "gaussian": "gaussian:Gaussian",
    "gaussian-bf16": "gaussian:GaussianBf16",
    "gaussian-unit": "gaussian:GaussianUnit",
    "orthonormal": "orthonormal:Orthonormal",
    "regenerated": "regenerated:Regenerated",
    "regenerated-signs": "regenerated:RegeneratedSigns",
    "sparse": "sparse:Sparse",
    "sparse-signs": "sparse:SparseSigns",
    "kronecker": "kronecker:Kronecker",
    "fastfood": "fastfood:Fastfood",
    "fastfood-layers": "fastfood:FastfoodLayers",
    "srht": "srht:SRHT",
    "hashed": "hashed:Hashed",
}


def names() -> list[str]:
    """All projectors: ours, then those of other packages."""
    return [*OURS, *(name for name in _others() if name not in OURS)]


@functools.cache
def load(name: str) -> type[Projector]:
    """The class called `name`.

    Raises:
        UserError: for an unknown name, or another package's projector that does not import or is
            none.
    """
    if name in OURS:
        module, kind = OURS[name].split(":")
        found: type[Projector] = getattr(import_module(f"subspace_bench.projectors.{module}"), kind)
        return found
    if name not in _others():
        raise UserError(f"unknown projector {name!r}: choose one of {', '.join(names())}")
    entry = _others()[name]
    origin = f"projector {name!r} of {entry.dist.name if entry.dist else 'another package'}"
    try:
        found = entry.load()
    except (Exception, SystemExit) as failure:
        raise UserError(
            f"{origin} does not import ({type(failure).__name__}: {failure}): mend or uninstall it"
        ) from failure
    if not (isinstance(found, type) and issubclass(found, Projector)):
        raise UserError(f"{origin} is no class that derives from subspace_bench.Projector")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise UserError(f"{origin} lacks {missing}: mend or uninstall it")
    return found


def footprint(
    name: str,
    native: int,
    dim: int,
    dtype: torch.dtype = torch.float32,
    layers: list[int] | None = None,
) -> Footprint:
    """Bytes that the projector called `name` takes for an ω and a θ of this dtype.

    Arguments:
        layers: as of `make`.

    Raises:
        UserError: as `load`, or where another package's projector does not say.
    """
    half = dtype in HALF  # brought to float32 and back
    with _blamed(name, f"does not say what it is at {native:,} × {dim:,}"):
        kind = load(name)
        given = {"layers": layers} if "layers" in kind.accepts else {}
        found = kind.footprint(native, dim, 4 if half else dtype.itemsize, **given)
        copies = 4 * (native + dim) if half else 0
        return Footprint(int(found.resident_bytes), int(found.workspace_bytes) + copies)


def column_norms(name: str, native: int, dim: int) -> ColumnNorms:
    """What the columns of the projector called `name` are.

    Raises:
        UserError: as `footprint`.
    """
    with _blamed(name, f"does not say what it is at {native:,} × {dim:,}"):
        found = load(name).column_norms(native, dim)
        if found not in get_args(ColumnNorms):
            raise ValueError(f"it promises {found!r}")
        return found


def predicted_seconds(name: str, native: int, dim: int, threads: int = 1) -> PredictedSeconds:
    """Seconds that the projector called `name` is expected to take.

    Raises:
        UserError: as `footprint`.
    """
    with _blamed(name, f"does not say what it is at {native:,} × {dim:,}"):
        return load(name).predicted_seconds(native, dim, threads)


def nonzero_rows(name: str, native: int, dim: int) -> float:
    """Expected fraction of θ that the adjoint of the projector called `name` reads.

    Raises:
        UserError: as `footprint`.
    """
    with _blamed(name, f"does not say what it is at {native:,} × {dim:,}"):
        return float(load(name).nonzero_rows(native, dim))


@contextlib.contextmanager
def _blamed(name: str, what: str) -> Iterator[None]:
    """Whatever another package's class raises, as a UserError that names the projector."""
    try:
        yield
    except UserError:
        raise
    except MemoryError as failure:
        raise UserError(
            f"projector {name!r} found too little memory: choose a smaller d, or a projector that "
            "stores less"
        ) from failure
    except Exception as failure:
        first = (str(failure).splitlines() or [""])[0]
        raise UserError(
            f"projector {name!r} {what} ({type(failure).__name__}: {first}): mend or uninstall it"
        ) from failure


def make(
    name: str,
    native: int,
    dim: int,
    seed: int,
    *,
    first: Tensor | None = None,
    layers: list[int] | None = None,
) -> Projector:
    """The projector called `name`.

    Arguments:
        first: (D,), the direction of P's first column, where the projector lets it be chosen.
        layers: sizes of θ's parameters, in order, for projectors that go by them; others ignore it.

    Raises:
        UserError: for an unknown name, a dimension outside 1 … D, a projector larger than this
            machine's free memory, a `first` that the projector has no use for, or another
            package's projector that cannot be made.
    """
    kind = load(name)
    native, dim, seed = check_sizes(native, dim, seed)
    needed, free = footprint(name, native, dim, layers=layers), available_memory()
    if needed.resident_bytes + needed.workspace_bytes > free:
        raise UserError(
            f"projector {name!r} of {native:,} × {dim:,} needs "
            f"{format_bytes(needed.resident_bytes + needed.workspace_bytes)} of memory and "
            f"{format_bytes(free)} are free: choose a smaller d, or a projector that stores less"
        )
    given: dict[str, Tensor | list[int]] = {}
    if first is not None:
        if "first" not in kind.accepts:
            raise UserError(f"projector {name!r} has no first column to choose: use 'orthonormal'")
        given["first"] = first
    if layers is not None and "layers" in kind.accepts:
        given["layers"] = layers
    if name in OURS:
        return kind(native, dim, seed, **given)
    with _blamed(name, f"cannot be made of {native:,} × {dim:,}"):
        return kind(native, dim, seed, **given)


@functools.cache
def _others() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
