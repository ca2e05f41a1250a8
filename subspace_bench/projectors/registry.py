"""Projectors by name: built-in ones, and plug-ins from other packages.

A package registers a subclass of `Projector` as an entry point in the group
`subspace_bench.projectors`; it then works in every command, table, test and benchmark. A new
built-in projector is a module here and a line in BUILT_IN.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast, get_args

import torch
from torch import Tensor

from subspace_bench.common.errors import UserError
from subspace_bench.common.formatting import format_bytes
from subspace_bench.common.hardware import available_memory
from subspace_bench.common.interruption import raise_if_interrupted
from subspace_bench.common.validation import require_choice
from subspace_bench.projectors.base import (
    ColumnNorms,
    Footprint,
    PredictedSeconds,
    Projector,
    require_sizes,
)
from subspace_bench.projectors.operation import HALF
from subspace_bench.projectors.rows import ProjectorByRows

GROUP = "subspace_bench.projectors"
BUILT_IN = {
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
    """The names of all projectors: built-in ones, then plug-ins."""
    return [*BUILT_IN, *(name for name in _entry_points() if name not in BUILT_IN)]


@functools.cache
def load(name: str) -> type[Projector]:
    """The class of the projector called `name`.

    Raises:
        UserError: for an unknown name, or a plug-in that does not import or is not a concrete
            subclass of `Projector`.
    """
    cls: Any
    if name in BUILT_IN:
        module, class_name = BUILT_IN[name].split(":")
        cls = getattr(import_module(f"subspace_bench.projectors.{module}"), class_name)
        return cast("type[Projector]", cls)
    require_choice("projector", [name], names())
    entry = _entry_points()[name]
    source = f"projector {name!r} of {entry.dist.name if entry.dist else 'another package'}"
    try:
        cls = entry.load()
    except BaseException as failure:  # also SystemExit, and skip() and exit() of test tools
        raise_if_interrupted()
        raise UserError(
            f"{source} does not import ({type(failure).__name__}: {failure}): fix or uninstall it"
        ) from failure
    if not (isinstance(cls, type) and issubclass(cls, Projector)):
        raise UserError(
            f"{source} is not a subclass of subspace_bench.Projector: fix or uninstall it"
        )
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(cls.__abstractmethods__))
        raise UserError(f"{source} lacks {missing}: fix or uninstall it")
    return cls


def footprint(
    name: str,
    native: int,
    dim: int,
    dtype: torch.dtype = torch.float32,
    layers: list[int] | None = None,
) -> Footprint:
    """Bytes that the projector called `name` needs for ω and θ of this dtype.

    Arguments:
        layers: as for `make`.

    Raises:
        UserError: as `load`, or if a plug-in's method fails.
    """
    half = dtype in HALF  # converted to float32 and back
    with _attribute_errors(name, f"gives no footprint at {native:,} × {dim:,}"):
        cls = load(name)
        options = {"layers": layers} if "layers" in cls.accepts else {}
        size = cls.footprint(native, dim, 4 if half else dtype.itemsize, **options)
        copies = 4 * (native + dim) if half else 0
        return Footprint(int(size.resident_bytes), int(size.workspace_bytes) + copies)


def column_norms(name: str, native: int, dim: int) -> ColumnNorms:
    """The guarantee on the column norms of the projector called `name`.

    Raises:
        UserError: as `footprint`.
    """
    with _attribute_errors(name, f"gives no column norms at {native:,} × {dim:,}"):
        norms = load(name).column_norms(native, dim)
        if norms not in get_args(ColumnNorms):
            raise ValueError(f"column_norms returned {norms!r}")
        return norms


def predicted_seconds(name: str, native: int, dim: int, threads: int = 1) -> PredictedSeconds:
    """Seconds that the projector called `name` is expected to take.

    Raises:
        UserError: as `footprint`.
    """
    with _attribute_errors(name, f"gives no predicted seconds at {native:,} × {dim:,}"):
        return load(name).predicted_seconds(native, dim, threads)


def nonzero_rows(name: str, native: int, dim: int) -> float:
    """Expected fraction of nonzero rows of the projector called `name`.

    Raises:
        UserError: as `footprint`.
    """
    with _attribute_errors(name, f"gives no nonzero rows at {native:,} × {dim:,}"):
        return float(load(name).nonzero_rows(native, dim))


@contextlib.contextmanager
def _attribute_errors(name: str, what: str) -> Iterator[None]:
    """Turns any exception of a plug-in into a UserError that names the projector."""
    try:
        yield
    except UserError:
        raise
    except MemoryError as failure:
        raise UserError(
            f"projector {name!r} ran out of memory: choose a smaller d, or a projector that "
            "stores less"
        ) from failure
    except BaseException as failure:
        raise_if_interrupted()
        first = (str(failure).splitlines() or [""])[0]
        raise UserError(
            f"projector {name!r} {what} ({type(failure).__name__}: {first}): fix or uninstall it"
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
    """Constructs the projector called `name`.

    Arguments:
        native: D.
        dim: d, 1 ≤ d ≤ D.
        first: (D,), the direction of P's first column, for a class that accepts it.
        layers: sizes of θ's parameters in order; ignored by classes that do not accept it.

    Raises:
        UserError: for an unknown name, a dimension out of range, a projector that exceeds the free
            memory, a `first` that the class does not accept, or a plug-in that fails.
    """
    cls = load(name)
    native, dim, seed = require_sizes(native, dim, seed)
    size, free = footprint(name, native, dim, layers=layers), available_memory()
    needed = size.resident_bytes + size.workspace_bytes
    if needed > free:
        raise UserError(
            f"projector {name!r} of {native:,} × {dim:,} needs "
            f"{format_bytes(needed)} of memory, but only "
            f"{format_bytes(free)} is free: choose a smaller d, or a projector that stores less"
        )
    options: dict[str, Tensor | list[int]] = {}
    if first is not None:
        if "first" not in cls.accepts:
            raise UserError(
                f"the first column of projector {name!r} cannot be chosen: use 'orthonormal'"
            )
        options["first"] = first
    if layers is not None and "layers" in cls.accepts:
        options["layers"] = layers
    if name in BUILT_IN:
        return cls(native, dim, seed, **options)
    with _attribute_errors(name, f"cannot be constructed at {native:,} × {dim:,}"):
        return cls(native, dim, seed, **options)


def make_by_rows(
    name: str, native: int, dim: int, seed: int, layers: list[int] | None = None
) -> ProjectorByRows:
    """The projector called `name`, for `Rows`: it stores nothing that grows with D.

    Arguments:
        As of `make`.

    Raises:
        UserError: as `make`, or if the projector cannot compute rows alone.
    """
    cls = load(name)
    native, dim, seed = require_sizes(native, dim, seed)
    if not issubclass(cls, ProjectorByRows):
        able = [other for other in BUILT_IN if issubclass(load(other), ProjectorByRows)]
        raise UserError(
            f"projector {name!r} cannot compute rows alone: choose one of {', '.join(able)}"
        )
    options: dict[str, Any] = {"layers": layers, "stored": False}
    with _attribute_errors(name, f"cannot be constructed at {native:,} × {dim:,}"):
        return cls(native, dim, seed, **{k: v for k, v in options.items() if k in cls.accepts})


@functools.cache
def _entry_points() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
