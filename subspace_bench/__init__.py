"""Trains neural networks in random subspaces, θ = θ₀ + Pω.

    from subspace_bench import Subspace

    net = Subspace(module, dim=1_000)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)

Names are imported when they are first used, so that the command line starts without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from subspace_bench.common.errors import UserError
    from subspace_bench.dimension.measure import intrinsic_dimension
    from subspace_bench.projectors import Projector
    from subspace_bench.records.config import RunConfig, TrainingConfig
    from subspace_bench.records.store import Record, Store
    from subspace_bench.subspace import ShardedSubspace, Subspace
    from subspace_bench.training.loop import train

__version__ = "0.1.0"

_HOMES = {
    "Projector": "projectors",
    "Record": "records.store",
    "RunConfig": "records.config",
    "ShardedSubspace": "subspace",
    "Store": "records.store",
    "Subspace": "subspace",
    "TrainingConfig": "records.config",
    "UserError": "common.errors",
    "intrinsic_dimension": "dimension.measure",
    "train": "training.loop",
}

__all__ = [
    "Projector",
    "Record",
    "RunConfig",
    "ShardedSubspace",
    "Store",
    "Subspace",
    "TrainingConfig",
    "UserError",
    "intrinsic_dimension",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
