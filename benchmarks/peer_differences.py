"""Differences between peers' maps and the published ones, each measured on a small example.

Every function returns the measured numbers; results/peers.md has the sentences around them.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch

MISSING = "(not measured)"  # the peer is not installed


def measure_differences() -> dict[str, Any]:
    """Name of each difference → its measurement."""
    functions = (
        omega_tail_used,
        cosine_between_chunk_sizes,
        transform_input_afterwards,
        sparse_positions,
        fastfood_column_length,
    )
    differences = {}
    for function in functions:
        try:
            differences[function.__name__] = function()
        except ImportError:
            differences[function.__name__] = MISSING
    return differences


def omega_tail_used() -> int:
    """How many of 100 entries of ω affect a layer of 10 parameters in intrinsic's Fastfood."""
    fastfood = importlib.import_module("intrinsic.fastfood")
    variables = fastfood.fastfood_vars(10, "cpu")
    units = torch.eye(100)
    return sum(bool(fastfood.fastfood_torched(unit, 10, variables).any()) for unit in units)


def cosine_between_chunk_sizes() -> str:
    """The cosine between two Pω of the same seed that differ in the constant CHUNK_MAX."""
    module = _pactl()
    default = module.RandomMultiply.CHUNK_MAX
    images = []
    for chunk in (default, 7_000):
        module.RandomMultiply.CHUNK_MAX = chunk
        images.append(module.LazyRandom(1_000, 20, None, None) @ torch.ones(20))
    module.RandomMultiply.CHUNK_MAX = default
    return f"{torch.cosine_similarity(images[0], images[1], dim=0):.3f}"


def transform_input_afterwards() -> list[float]:
    """The argument [0, 1, 2, 3] of the Walsh-Hadamard transform after the call."""
    x = torch.arange(4.0)
    _pactl().FastfoodOperator.FWHT.transform(x)
    return x.tolist()


def sparse_positions() -> str:
    """The positions of SparseOperator's entries at 400 × 20."""
    matrix = _pactl().SparseOperator(400, 20, None, None).V
    return f"{matrix._nnz()} drawn, {matrix.coalesce()._nnz()} distinct"


def fastfood_column_length() -> str:
    """The mean norm of FastfoodOperator's columns at 4,096 × 256; for unit columns it is 1."""
    operator = _pactl().FastfoodOperator(4096, 256, None, None)
    columns = torch.stack([operator._matvec(column) for column in torch.eye(256)[:16]], dim=1)
    return f"{columns.norm(dim=0).mean():.2f}"


def _pactl() -> Any:
    return importlib.import_module("pactl_projectors.projectors")
