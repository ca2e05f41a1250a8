"""Has accuracy moved? New runs against a reference, with stated error rates."""

from subspace_bench.regression.sequential import Decision, Design

__all__ = ["Decision", "Design"]
