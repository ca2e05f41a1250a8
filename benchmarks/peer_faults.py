"""Cases in which a peer's answer differs from the mathematics, each run when it is asked for.

Every function returns a line of markdown with what it measured, or "" where the peer is not there.
"""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

MUTATIONS: list[Callable[[], str]] = []


def case(act: Callable[[], str]) -> Callable[[], str]:
    """Registers a case, which says nothing where its peer cannot be imported."""

    @functools.wraps(act)
    def tried() -> str:
        try:
            return act()
        except ImportError:
            return ""

    MUTATIONS.append(tried)
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


@case
def strided_views_transform_what_lies_beside_them() -> str:
    pyfwht = importlib.import_module("pyfwht")
    numbers = np.arange(8.0)
    pyfwht.transform(numbers[::2], pyfwht.Backend.CPU)
    return (
        "pyfwht ignores the strides of its argument: of every other number of 0 … 7 the transform "
        f"is [12, -4, -8, 0]; it took the first four instead, and left {_list(numbers)}, with "
        "numbers changed that were not in the argument."
    )


@case
def integers_overflow_in_silence() -> str:
    pyfwht = importlib.import_module("pyfwht")
    ones, large = np.ones(256, np.int8), np.full(4, 2**30, np.int32)
    for numbers in (ones, large):
        pyfwht.transform(numbers, pyfwht.Backend.CPU)
    return (
        "pyfwht's integers overflow in silence unless `transform_safe` is called: of 256 ones in "
        f"int8 the first number is {ones[0]}, not 256; of four 2³⁰ in int32 {large[0]}, not 2³²."
    )


@case
def in_place_leaves_a_strided_view_as_it_was() -> str:
    fht = importlib.import_module("fht_cpu").fht
    numbers = np.arange(8.0)[::2]
    before = numbers.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = fht(numbers)
    if np.array_equal(numbers, result):
        return ""
    return (
        "fht-cpu, in place by default, does not change a 1-D argument that is not contiguous (it "
        f"warns that it copies): of {_list(before)} it returns {_list(result)}, and the argument "
        f"is {_list(numbers)} still."
    )


@case
def half_precision_overflows_before_it_is_normalised() -> str:
    act = importlib.import_module("hadamard_transform").hadamard_transform
    found = act(torch.full((1 << 16,), 4.0, dtype=torch.float16))[0].item()
    return (
        "hadamard-transform divides by √n at the end: of 2^16 fours in float16 the first number "
        f"is {found}, not 1024, which float16 holds. (Its transform is the normalised one.)"
    )


@case
def other_sizes_are_refused() -> str:
    """Not a fault: said so that nobody looks for it."""
    pyfwht = importlib.import_module("pyfwht")
    acts: dict[str, Callable[[], object]] = {
        "fht-cpu": lambda: importlib.import_module("fht_cpu").fht(np.ones(6)),
        "pyfwht": lambda: pyfwht.transform(np.ones(6), pyfwht.Backend.CPU),
        "hadamard-transform": lambda: importlib.import_module(
            "hadamard_transform"
        ).hadamard_transform(torch.ones(6)),
    }
    refused = [name for name, act in acts.items() if _refuses(act)]
    return f"Six numbers, no power of two, are refused with an exception by {', '.join(refused)}."


def _refuses(act: Callable[[], object]) -> bool:
    try:
        act()
    except (ValueError, AssertionError):
        return True
    return False


def _list(numbers: np.ndarray) -> list[int]:
    return [int(number) for number in numbers]
