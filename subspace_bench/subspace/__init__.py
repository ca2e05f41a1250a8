"""θ = θ₀ + Pω around any `torch.nn.Module`, and a module's parameters as one vector."""

from subspace_bench.subspace.flat import FlatParameters, fingerprint, trainable_parameters
from subspace_bench.subspace.module import Subspace

__all__ = ["FlatParameters", "Subspace", "fingerprint", "trainable_parameters"]
