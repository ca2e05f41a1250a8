"""The post author's θ_init and P, drawn from NumPy's legacy generator with seed 123.

The published code (greydanus/subspace-nn @9e4eb5f) seeds NumPy again for each d and draws

    θ_init: one parameter after another, N(0, σ²); σ = 0 for biases
    A = [θ_init | N(0, 1)^{D×(d−1)}],   P = Q of A = QR, in float64

So both are functions of (model, σ, d). Batches and dropout came from torch's generator, whose
stream cannot be replayed; here they follow the run's seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from subspace_bench import models
from subspace_bench.common.errors import UserError
from subspace_bench.projectors import Dense

SEED = 123
# The author's order of parameters, as indices into `module.parameters()`.
ORDERS = {"conv": (0, 1, 2, 3, 4, 5, 6, 7), "fc": (0, 2, 4, 1, 3, 5)}


def theta_init(model: str, sigmas: Sequence[float]) -> Tensor:
    """θ_init (D,), float64, in the order of `module.parameters()`.

    Arguments:
        model: "conv" or "fc".
        sigmas: σ of each weight tensor, in order; a single σ applies to all.

    Raises:
        UserError: for a model that the post does not train in subspaces.
    """
    return torch.from_numpy(_draws(model, sigmas)[1])[positions(model)]


def projector(model: str, dim: int, sigmas: Sequence[float]) -> Dense:
    """The author's P (D, d), rounded to float32. Only the rounding of QR depends on the machine.

    Raises:
        UserError: see `theta_init`.
    """
    random, theta = _draws(model, sigmas)
    a = np.empty((theta.size, dim))
    a[:, 0] = theta
    a[:, 1:] = random.randn(theta.size, dim - 1)
    q, _ = torch.linalg.qr(torch.from_numpy(a))
    del a
    order = positions(model)
    columns = torch.empty(dim, theta.size)
    for j in range(dim):  # column by column, because q takes twice the memory of P
        columns[j] = q[:, j][order]
    return Dense(theta.size, dim, SEED, columns)


def positions(model: str) -> Tensor:
    """The position of each entry of our θ in the author's θ, (D,).

    His dense weights are (in, out), ours (out, in); his FC net lists all weights before all biases.
    """
    shapes = _shapes(model)
    blocks: dict[int, Tensor] = {}
    start = 0
    for i in ORDERS[model]:
        size = shapes[i].numel()
        block = torch.arange(start, start + size)
        if len(shapes[i]) == 2:
            block = block.view(shapes[i][1], shapes[i][0]).T
        blocks[i] = block.reshape(-1)
        start += size
    return torch.cat([blocks[i] for i in range(len(shapes))])


def _draws(model: str, sigmas: Sequence[float]) -> tuple[np.random.RandomState, np.ndarray]:
    """θ_init in the author's order, and the generator after drawing it."""
    shapes = _shapes(model)
    weights = [i for i, shape in enumerate(shapes) if len(shape) > 1]
    if len(sigmas) == 1:
        sigmas = list(sigmas) * len(weights)
    sigma_of = dict(zip(weights, sigmas, strict=True))
    random = np.random.RandomState(SEED)
    parts = [random.randn(shapes[i].numel()) * sigma_of.get(i, 0.0) for i in ORDERS[model]]
    return random, np.concatenate(parts)


def _shapes(model: str) -> list[torch.Size]:
    if model not in ORDERS:
        raise UserError(
            f"the author did not train {model!r} in subspaces: choose {' or '.join(ORDERS)}"
        )
    return [p.shape for p in models.build(model).parameters()]
