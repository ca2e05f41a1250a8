"""θ = θ₀ + Pω around any `torch.nn.Module`, and a module's parameters as one vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from subspace_bench.subspace.flat import FlatParameters, fingerprint, trainable_parameters
from subspace_bench.subspace.module import Subspace

if TYPE_CHECKING:
    from subspace_bench.subspace.sharded import ShardedSubspace

__all__ = ["FlatParameters", "ShardedSubspace", "Subspace", "fingerprint", "trainable_parameters"]


def __getattr__(name: str) -> Any:
    if name == "ShardedSubspace":  # it imports torch.distributed, which takes a second
        from subspace_bench.subspace.sharded import ShardedSubspace

        return ShardedSubspace
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
