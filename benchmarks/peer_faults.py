"""Cases in which a peer's answer differs from the mathematics, each run when it is asked for.

Every function returns a line of markdown with what it measured, or "" where the peer is not there.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import torch

FAULTS: list[Callable[[], str]] = []


def case(act: Callable[[], str]) -> Callable[[], str]:
    """Registers a case, which says nothing where its peer cannot be imported."""

    @functools.wraps(act)
    def tried() -> str:
        try:
            return act()
        except ImportError:
            return ""

    FAULTS.append(tried)
    return tried


def pactl() -> Any:
    return importlib.import_module("pactl_projectors.projectors")


@case
def tail_of_omega_dropped() -> str:
    fastfood = importlib.import_module("intrinsic.fastfood")
    drawn = fastfood.fastfood_vars(10, "cpu")
    units = torch.eye(100)
    used = sum(bool(fastfood.fastfood_torched(unit, 10, drawn).any()) for unit in units)
    return (
        "intrinsic-dimensionality's Fastfood drops ω's tail where a layer is smaller than d, as it "
        f"pads by a negative length: of ω's 100 numbers a bias of 10 parameters follows {used}."
    )


@case
def map_depends_on_a_chunk_size() -> str:
    kinds = pactl()
    omega, native, dim = torch.ones(20), 1000, 20
    results = []
    whole = kinds.RandomMultiply.CHUNK_MAX
    for chunk in (whole, 7_000):
        kinds.RandomMultiply.CHUNK_MAX = chunk
        results.append(kinds.LazyRandom(native, dim, None, None) @ omega)
    kinds.RandomMultiply.CHUNK_MAX = whole
    cosine = torch.cosine_similarity(results[0], results[1], dim=0)
    return (
        "tight-pac-bayes' LazyRandom is another map where its constant CHUNK_MAX differs, with the "
        f"same seed: the cosine between the two Pω is {cosine:.3f}. (Its generator is that of ω's "
        "device, so that CPU and CUDA give different maps too; not reproduced here without one.)"
    )


@case
def transform_overwrites_its_argument() -> str:
    kinds = pactl()
    x = torch.arange(4.0)
    before = x.clone()
    kinds.FastfoodOperator.FWHT.transform(x)
    return (
        "tight-pac-bayes' Walsh-Hadamard transform overwrites its argument, incoming gradients "
        f"included: after transforming {before.tolist()} it holds {x.tolist()}."
    )


@case
def sparse_entries_coincide() -> str:
    kinds = pactl()
    native, dim = 400, 20
    operator = kinds.SparseOperator(native, dim, None, None)
    drawn = operator.V._nnz()
    places = operator.V.coalesce()._nnz()
    return (
        "tight-pac-bayes' SparseOperator draws its places with replacement and adds up what "
        f"coincides: at {native} × {dim} its {drawn} entries fall on {places} places."
    )


@case
def fastfood_rows_are_not_gaussian() -> str:
    kinds = pactl()
    operator = kinds.FastfoodOperator(4096, 256, None, None)
    columns = torch.stack([operator._matvec(column) for column in torch.eye(256)[:16]], dim=1)
    return (
        "tight-pac-bayes' FastfoodOperator takes S uniform in [0, 1] where Fastfood has lengths of "
        "Gaussian rows, and no scale of D: at 4,096 × 256 its columns have length "
        f"{columns.norm(dim=0).mean():.2f}, not 1."
    )
