"""Projectors and subspaces."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from subspace_bench.regression.validation.mutations import (
    FASTFOOD,
    HASHED,
    ORTHONORMAL,
    SUBSPACES,
    fault,
)
from subspace_bench.regression.validation.patching import SUBSPACE, change_update
from subspace_bench.training.optimizers import FusedSubspaceAdam, SubspaceOptimizer

fastfood: Any = import_module("subspace_bench.projectors.fastfood")
hashed: Any = import_module("subspace_bench.projectors.hashed")
models: Any = import_module("subspace_bench.models")
optimizers: Any = import_module("subspace_bench.training.optimizers")
orthonormal: Any = import_module("subspace_bench.projectors.orthonormal")
projectors: Any = import_module("subspace_bench.projectors")
train: Any = import_module("subspace_bench.training.loop")


def change_map(kind: Any, name: str, change: Callable[[Tensor], Tensor]) -> None:
    """P or Pᵀ (`_project` or `_adjoint`) is applied to changed rows of vectors."""
    plain = getattr(kind, name)
    setattr(kind, name, lambda self, rows: plain(self, change(rows)))


def change_subspace(change: Callable[[Any, Tensor, Tensor], Any]) -> None:
    """(P, θ₀, ω₀) are changed after they were made."""
    plain = optimizers.subspace_of
    optimizers.subspace_of = lambda run, net: change(*plain(run, net))


def change_fan_in(change: Callable[[Tensor], Tensor]) -> None:
    """The fan-in by which rows of P are scaled is changed."""
    plain = models.fan_in
    models.fan_in = lambda module: change(plain(module))


@fault(SUBSPACES)
def rows_not_scaled() -> None:
    """P's rows are not scaled by fan-in, only as a whole."""
    change_fan_in(lambda fan_in: torch.full_like(fan_in, 320.0))


@fault((FASTFOOD, HASHED))
def rows_scaled_in_one_direction() -> None:
    """P's rows are scaled by fan-in, Pᵀ's columns are not."""

    def act(run: Any, net: Any, made: Any, update: Callable[[], None]) -> None:
        net.gradient.div_(made.rows)
        update()

    change_update(act, SubspaceOptimizer)


@fault(SUBSPACES)
def columns_off_by_2() -> None:
    """P is twice as large as it should be; under Adam, as if the rate were."""
    change_fan_in(lambda fan_in: fan_in / 4)


@fault(SUBSPACES)
def columns_off_by_10_percent() -> None:
    """P is 10% larger than it should be; under Adam, as if the rate were."""
    change_fan_in(lambda fan_in: fan_in / 1.21)


@fault((ORTHONORMAL,))
def qr_missing() -> None:
    """P is A as it was drawn: columns of length √D, neither orthogonal nor of unit length."""
    orthonormal.orthonormalise_ = lambda columns: columns


@fault(SUBSPACES)
def omega_starts_off_zero() -> None:
    """ω₀ is N(0, 0.3²) and not zero."""

    def change(p: Any, origin: Tensor, omega: Tensor) -> tuple[Any, Tensor, Tensor]:
        noise = torch.randn(len(omega), generator=torch.Generator().manual_seed(1))
        return p, origin, omega + 0.3 * noise

    change_subspace(change)


@fault(SUBSPACES)
def origin_forgotten() -> None:
    """θ = Pω where it should be θ₀ + Pω."""
    change_subspace(lambda p, origin, omega: (p, torch.zeros_like(origin), omega))


@fault(SUBSPACES)
def origin_at_the_last_theta() -> None:
    """θ₀ is overwritten by each step's θ, to which Pω is then added again."""

    def act(run: Any, net: Any, made: Any, update: Callable[[], None]) -> None:
        update()
        made.origin.copy_(net.theta)

    change_update(act, SUBSPACE)


@fault((ORTHONORMAL,))
def projector_not_frozen() -> None:
    """P is trained along with ω, by gradient descent at a rate of 0.01."""

    def act(run: Any, net: Any, made: Any, update: Callable[[], None]) -> None:
        made.projector.columns.addr_(made.trained, net.gradient, alpha=-1e-2)
        update()

    change_update(act, FusedSubspaceAdam)


@fault((FASTFOOD, HASHED))
def projector_redrawn_five_times() -> None:
    """P changes after each sixth of the updates while ω stays: what was learnt is scrambled."""

    def act(run: Any, net: Any, made: Any, update: Callable[[], None]) -> None:
        if made.updates and made.updates % (run.protocol.steps // 6) == 0:
            seed = run.seed + made.updates
            made.projector = projectors.make(run.projector, len(net.theta), run.dim, seed)
        update()

    change_update(act, SubspaceOptimizer)  # which keeps the scale of P's rows apart from P


@fault(SUBSPACES)
def gradient_flattened_in_another_order() -> None:
    """Pᵀ gets the gradient as weights, then biases; P gives θ layer by layer."""

    def act(run: Any, net: Any, made: Any, update: Callable[[], None]) -> None:
        ordered = sorted(net.parameters, key=lambda p: p.ndim == 1)
        net.gradient.copy_(torch.cat([p.grad.flatten() for p in ordered]))
        update()

    change_update(act, SUBSPACE)


@fault(SUBSPACES)
def gradient_of_a_part_of_theta() -> None:
    """Pᵀ leaves the last tenth of θ out."""

    def act(run: Any, net: Any, made: Any, update: Callable[[], None]) -> None:
        net.gradient[len(net.gradient) * 9 // 10 :] = 0
        update()

    change_update(act, SUBSPACE)


def first_half(omega: Tensor) -> Tensor:
    """Rows whose second half is zero."""
    kept = omega.clone()
    kept[:, omega.shape[1] // 2 :] = 0
    return kept


@fault((FASTFOOD, HASHED))
def only_half_of_omega() -> None:
    """P drops the second half of ω, whose gradients still come."""
    for kind in (fastfood.Fastfood, hashed.Hashed):
        change_map(kind, "_project", first_half)


@fault(SUBSPACES)
def d_off_by_a_tenth() -> None:
    """The subspace has 900 dimensions instead of 1,000."""
    plain = train.make_optimizer

    def make(run: Any, net: Any) -> Any:
        return plain(dataclasses.replace(run, dim=run.dim * 9 // 10) if run.dim else run, net)

    train.make_optimizer = make


@fault(SUBSPACES)
def projector_of_seed_0() -> None:
    """P is that of seed 0, whatever the seed of the run."""
    plain = projectors.make
    projectors.make = lambda name, native, dim, seed, **rest: plain(name, native, dim, 0, **rest)


def change_fastfood(name: str, change: Callable[[Any], Any], adjoint_only: bool) -> None:
    """A part of Fastfood's product is changed, in plain PyTorch, in P and Pᵀ or in Pᵀ alone."""
    kind, plain = fastfood.Fastfood, getattr(fastfood, name)
    kind._vectors = lambda self, rows: False
    if not adjoint_only:
        setattr(fastfood, name, change(plain))
        return
    adjoint = kind._adjoint

    def changed(self: Any, theta: Tensor) -> Tensor:
        setattr(fastfood, name, change(plain))
        try:
            return adjoint(self, theta)
        finally:
            setattr(fastfood, name, plain)

    kind._adjoint = changed


def bit_reversed(hadamard_: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """H with its rows in bit-reversed order, which is symmetric too."""

    def transform(x: Tensor) -> Tensor:
        levels = x.shape[-1].bit_length() - 1
        index = torch.arange(x.shape[-1])
        order = sum((index >> i & 1) << (levels - 1 - i) for i in range(levels))
        return hadamard_(x).index_select(-1, torch.as_tensor(order))

    return transform


@fault((FASTFOOD,))
def hadamard_in_bit_reversed_order() -> None:
    """Both H of Fastfood have their rows in bit-reversed order: another P, with its own adjoint."""
    change_fastfood("hadamard_", bit_reversed, adjoint_only=False)


@fault((FASTFOOD,))
def hadamard_in_bit_reversed_order_in_the_adjoint() -> None:
    """H has its rows in bit-reversed order in Pᵀ alone."""
    change_fastfood("hadamard_", bit_reversed, adjoint_only=True)


def unpermuted(_: Any) -> Callable[..., Tensor]:
    return lambda x, g, key, blocks, scatter: x * g


@fault((FASTFOOD,))
def permutation_missing() -> None:
    """Fastfood's Π is the identity: P = S H G H B."""
    change_fastfood("permute", unpermuted, adjoint_only=False)


@fault((FASTFOOD,))
def permutation_missing_in_the_adjoint() -> None:
    """Fastfood's Π is the identity in Pᵀ alone."""
    change_fastfood("permute", unpermuted, adjoint_only=True)


@fault((HASHED,))
def signs_missing() -> None:
    """Parameters that share a number of ω share its sign."""
    kind = hashed.Hashed
    rows, project, adjoint = kind._rows, kind._project, kind._adjoint

    def unsigned(self: Any, like: Tensor) -> Any:
        for start, stop, columns, signs in rows(self, like):
            yield start, stop, columns, torch.ones_like(signs)

    kind._rows = unsigned  # which float64 goes by
    kind._project = lambda self, omega: project(self, omega.double()).float()
    kind._adjoint = lambda self, theta: adjoint(self, theta.double()).float()
