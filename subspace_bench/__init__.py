"""Training neural networks in random subspaces, θ = θ₀ + Pω: reproduced, measured, watched.

    from subspace_bench import Subspace

    net = Subspace(module, dim=1_000)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)

Names are imported when they are first used, so that the command line starts without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from subspace_bench.errors import UserError
    from subspace_bench.projectors import Projector
    from subspace_bench.runs import Protocol, Record, Run, Store
    from subspace_bench.subspace import Subspace
    from subspace_bench.train import train

__version__ = "0.1.0"

_HOMES = {
    "Projector": "projectors",
    "Protocol": "runs",
    "Record": "runs",
    "Run": "runs",
    "Store": "runs",
    "Subspace": "subspace",
    "UserError": "errors",
    "train": "train",
}

__all__ = [
    "Projector",
    "Protocol",
    "Record",
    "Run",
    "Store",
    "Subspace",
    "UserError",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
