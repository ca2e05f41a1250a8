"""The nets of the post and of the tutorials by name (registry.py), and their initialisation."""

from subspace_bench.models.initialization import fan_in, fan_ins, initialise
from subspace_bench.models.layers import ConvPoolRelu
from subspace_bench.models.registry import MODELS, build, parameter_count
from subspace_bench.models.tutorials import HYPOTHESES, hypothetical_count

__all__ = [
    "HYPOTHESES",
    "MODELS",
    "ConvPoolRelu",
    "build",
    "fan_in",
    "fan_ins",
    "hypothetical_count",
    "initialise",
    "parameter_count",
]
