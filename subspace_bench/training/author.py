"""θ_init and P as the post's author drew them, from numpy's legacy generator seeded with 123.

The published code (greydanus/subspace-nn @9e4eb5f) seeds numpy anew for each dimension and draws

    θ_init, one parameter after another, N(0, σ²), biases with σ = 0
    A = [θ_init | N(0, 1)^{D×(d−1)}]
    P = Q of A = QR, in float64

so both are functions of (net, σ, d) alone. Its seed of torch's generator, which batches and
dropout come from, cannot be replayed: a run's own seed stands for these.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from subspace_bench import models
from subspace_bench.common.errors import UserError
from subspace_bench.projectors import ColumnNorms, Dense

SEED = 123
# Where each parameter stands in the author's θ, by its place in `module.parameters()`.
ORDERS = {"conv": (0, 1, 2, 3, 4, 5, 6, 7), "fc": (0, 2, 4, 1, 3, 5)}


class AuthorOrthonormal(Dense):
    """The author's P for one net, its rows in the order of `module.parameters()`."""

    @classmethod
    def column_norms(cls, native: int, dim: int) -> ColumnNorms:
        return "orthonormal"


def theta_init(model: str, sigmas: Sequence[float]) -> Tensor:
    """θ_init (D,), float64, in the order of `module.parameters()`.

    Arguments:
        model: "conv" or "fc".
        sigmas: of the weight tensors, in order; one stands for all.

    Raises:
        UserError: for a net that the post does not train in subspaces.
    """
    return torch.from_numpy(_draws(model, sigmas)[1])[places(model)]


def projector(model: str, dim: int, sigmas: Sequence[float]) -> Dense:
    """The author's P (D, d), float32. Only the rounding of QR depends on the machine.

    Raises:
        UserError: as `theta_init`.
    """
    random, theta = _draws(model, sigmas)
    a = np.empty((theta.size, dim))
    a[:, 0] = theta
    a[:, 1:] = random.randn(theta.size, dim - 1)
    q, _ = torch.linalg.qr(torch.from_numpy(a))
    del a
    order = places(model)
    columns = torch.empty(dim, theta.size)
    for j in range(dim):  # a column at a time: q is as large as P twice
        columns[j] = q[:, j][order]
    return AuthorOrthonormal(theta.size, dim, SEED, columns)


def places(model: str) -> Tensor:
    """(D,), the place in the author's θ of each entry of ours.

    His dense weights are (in, out), ours (out, in); his FC net has all weights before all biases.
    """
    shapes = _shapes(model)
    found: list[Tensor] = [torch.empty(0)] * len(shapes)
    start = 0
    for i in ORDERS[model]:
        size = shapes[i].numel()
        block = torch.arange(start, start + size)
        if len(shapes[i]) == 2:
            block = block.view(shapes[i][1], shapes[i][0]).T
        found[i] = block.reshape(-1)
        start += size
    return torch.cat(found)


def _draws(model: str, sigmas: Sequence[float]) -> tuple[np.random.RandomState, np.ndarray]:
    """The generator after θ_init, and θ_init in the author's order."""
    shapes = _shapes(model)
    weights = [i for i, shape in enumerate(shapes) if len(shape) > 1]
    of = dict(zip(weights, list(sigmas) * (len(weights) if len(sigmas) == 1 else 1), strict=True))
    random = np.random.RandomState(SEED)
    parts = [random.randn(shapes[i].numel()) * of.get(i, 0.0) for i in ORDERS[model]]
    return random, np.concatenate(parts)


def _shapes(model: str) -> list[torch.Size]:
    if model not in ORDERS:
        raise UserError(f"the author drew no {model!r} in a subspace: choose {' or '.join(ORDERS)}")
    return [p.shape for p in models.build(model).parameters()]
