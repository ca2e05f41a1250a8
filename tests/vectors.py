"""Random vectors and matrices of projectors, for tests."""

from __future__ import annotations

import torch

from subspace_bench.projectors import Projector


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """N(0, 1) numbers that the seed determines."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def matrix(projector: Projector) -> torch.Tensor:
    """P (D, d) in float64, for which no projector has a kernel."""
    return projector(torch.eye(projector.dim, dtype=torch.float64)).T
