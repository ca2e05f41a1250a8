"""Mutations of projectors and subspaces."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from subspace_bench.regression.validation.mutations import (
    FASTFOOD,
    HASHED,
    ORTHONORMAL,
    SUBSPACES,
    mutation,
)
from subspace_bench.regression.validation.patching import (
    SUBSPACE,
    fastfood,
    hashed,
    loop,
    models,
    optimizers,
    orthonormal,
    patch_update,
    projectors,
)
from subspace_bench.training.optimizers import FusedSubspaceAdam, SubspaceOptimizer


def patch_map(kind: Any, name: str, change: Callable[[Tensor], Tensor]) -> None:
    """Changes the vectors, as rows, that P or Pᵀ (`_project` or `_adjoint`) is applied to."""
    original = getattr(kind, name)
    setattr(kind, name, lambda self, rows: original(self, change(rows)))
    train_through_maps(kind)


def train_through_maps(kind: Any) -> None:
    """Makes training call `_project` and `_adjoint` instead of kernels that do more in one pass."""

    def displace(self: Any, origin: Tensor, omega: Tensor, theta: Tensor) -> None:
        torch.add(self._project(omega[None])[0], origin, out=theta)

    def adjoint_of_pieces(self: Any, pieces: Sequence[Tensor]) -> Tensor:
        return self._adjoint(torch.cat([piece.reshape(-1) for piece in pieces])[None])[0]

    kind._displace, kind._adjoint_of_pieces = displace, adjoint_of_pieces


def patch_subspace(change: Callable[[Any, Tensor, Tensor], Any]) -> None:
    """Changes (P, θ₀, ω₀) after they were made."""
    original = optimizers.subspace_of
    optimizers.subspace_of = lambda run, flat: change(*original(run, flat))


def patch_fan_in(change: Callable[[Tensor], Tensor]) -> None:
    """Changes the fan-in that scales rows of P."""
    original = models.fan_in
    models.fan_in = lambda module: change(original(module))


@mutation(SUBSPACES)
def rows_not_scaled() -> None:
    """P's rows are scaled by one common factor instead of by fan-in."""
    patch_fan_in(lambda fan_in: torch.full_like(fan_in, 320.0))


@mutation((FASTFOOD, HASHED))
def rows_scaled_in_one_direction() -> None:
    """P is scaled by fan-in, Pᵀ is not."""

    def act(run: Any, flat: Any, optimizer: Any, update: Callable[[], None]) -> None:
        flat.gradient.div_(optimizer.rows)
        update()

    patch_update(act, SubspaceOptimizer)


@mutation(SUBSPACES)
def columns_off_by_2() -> None:
    """P is twice too large; under Adam this doubles the rate."""
    patch_fan_in(lambda fan_in: fan_in / 4)


@mutation(SUBSPACES)
def columns_off_by_10_percent() -> None:
    """P is 10% too large; under Adam this raises the rate by 10%."""
    patch_fan_in(lambda fan_in: fan_in / 1.21)


@mutation((ORTHONORMAL,))
def qr_missing() -> None:
    """The QR step is missing: P's columns have length √D and are not orthogonal."""
    orthonormal.orthonormalise_ = lambda columns: columns


@mutation(SUBSPACES)
def omega_starts_off_zero() -> None:
    """ω₀ is N(0, 0.3²) instead of zero."""

    def change(p: Any, origin: Tensor, omega: Tensor) -> tuple[Any, Tensor, Tensor]:
        noise = torch.randn(len(omega), generator=torch.Generator().manual_seed(1))
        return p, origin, omega + 0.3 * noise

    patch_subspace(change)


@mutation(SUBSPACES)
def origin_forgotten() -> None:
    """θ = Pω instead of θ₀ + Pω."""
    patch_subspace(lambda p, origin, omega: (p, torch.zeros_like(origin), omega))


@mutation(SUBSPACES)
def origin_at_the_last_theta() -> None:
    """Each step overwrites θ₀ by θ, so that Pω is added again."""

    def act(run: Any, flat: Any, optimizer: Any, update: Callable[[], None]) -> None:
        update()
        optimizer.origin.copy_(flat.theta)

    patch_update(act, SUBSPACE)


@mutation((ORTHONORMAL,))
def projector_not_frozen() -> None:
    """P is trained, too, by gradient descent at a rate of 0.01."""

    def act(run: Any, flat: Any, optimizer: Any, update: Callable[[], None]) -> None:
        optimizer.projector.columns.addr_(optimizer.trained, flat.gradient, alpha=-1e-2)
        update()

    patch_update(act, FusedSubspaceAdam)


@mutation((FASTFOOD, HASHED))
def projector_redrawn_five_times() -> None:
    """P is redrawn after each sixth of the updates, while ω stays."""

    def act(run: Any, flat: Any, optimizer: Any, update: Callable[[], None]) -> None:
        if optimizer.updates and optimizer.updates % (run.protocol.steps // 6) == 0:
            seed = run.seed + optimizer.updates
            optimizer.projector = projectors.make(run.projector, len(flat.theta), run.dim, seed)
        update()

    patch_update(act, SubspaceOptimizer)  # it keeps the scale of P's rows apart from P


@mutation(SUBSPACES)
def gradient_flattened_in_another_order() -> None:
    """Pᵀ gets weights first, then biases; P returns θ layer by layer."""

    def act(run: Any, flat: Any, optimizer: Any, update: Callable[[], None]) -> None:
        ordered = sorted(flat.parameters, key=lambda p: p.ndim == 1)
        flat.gradient.copy_(torch.cat([p.grad.flatten() for p in ordered]))
        update()

    patch_update(act, SUBSPACE)


@mutation(SUBSPACES)
def gradient_of_a_part_of_theta() -> None:
    """Pᵀ ignores the last tenth of θ."""

    def act(run: Any, flat: Any, optimizer: Any, update: Callable[[], None]) -> None:
        flat.gradient[len(flat.gradient) * 9 // 10 :] = 0
        update()

    patch_update(act, SUBSPACE)


def first_half(omega: Tensor) -> Tensor:
    """ω, as rows, with the second half zeroed."""
    kept = omega.clone()
    kept[:, omega.shape[1] // 2 :] = 0
    return kept


@mutation((FASTFOOD, HASHED))
def only_half_of_omega() -> None:
    """P ignores the second half of ω; Pᵀ does not."""
    for kind in (fastfood.Fastfood, hashed.Hashed):
        patch_map(kind, "_project", first_half)


@mutation(SUBSPACES)
def d_off_by_a_tenth() -> None:
    """The subspace has 900 dimensions instead of 1,000."""
    original = loop.make_optimizer

    def make(run: Any, flat: Any) -> Any:
        return original(dataclasses.replace(run, dim=run.dim * 9 // 10) if run.dim else run, flat)

    loop.make_optimizer = make


@mutation(SUBSPACES)
def projector_of_seed_0() -> None:
    """P has seed 0, whatever the seed of the run."""
    original = projectors.make
    projectors.make = lambda name, native, dim, seed, **rest: original(name, native, dim, 0, **rest)


def patch_fastfood(name: str, change: Callable[[Any], Any], adjoint_only: bool) -> None:
    """Changes a function of Fastfood, on its PyTorch path, in P and Pᵀ or in Pᵀ only."""
    kind, original = fastfood.Fastfood, getattr(fastfood, name)
    kind._has_fused_kernels = lambda self, vector: False
    if not adjoint_only:
        setattr(fastfood, name, change(original))
        return
    adjoint = kind._adjoint

    def changed(self: Any, theta: Tensor) -> Tensor:
        setattr(fastfood, name, change(original))
        try:
            return adjoint(self, theta)
        finally:
            setattr(fastfood, name, original)

    kind._adjoint = changed


def bit_reversed(hadamard_: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """H with its rows in bit-reversed order; it is symmetric, too."""

    def transform(x: Tensor) -> Tensor:
        levels = x.shape[-1].bit_length() - 1
        index = torch.arange(x.shape[-1])
        order = sum((index >> i & 1) << (levels - 1 - i) for i in range(levels))
        return hadamard_(x).index_select(-1, torch.as_tensor(order))

    return transform


@mutation((FASTFOOD,))
def hadamard_in_bit_reversed_order() -> None:
    """Fastfood's H has its rows in bit-reversed order, in P and Pᵀ."""
    patch_fastfood("hadamard_", bit_reversed, adjoint_only=False)


@mutation((FASTFOOD,))
def hadamard_in_bit_reversed_order_in_the_adjoint() -> None:
    """Fastfood's H has its rows in bit-reversed order, in Pᵀ only."""
    patch_fastfood("hadamard_", bit_reversed, adjoint_only=True)


def unpermuted(_: Any) -> Callable[..., Tensor]:
    return lambda x, g, key, blocks, scatter: x * g


@mutation((FASTFOOD,))
def permutation_missing() -> None:
    """Fastfood's Π is the identity, in P and Pᵀ: P = S H G H B."""
    patch_fastfood("permute", unpermuted, adjoint_only=False)


@mutation((FASTFOOD,))
def permutation_missing_in_the_adjoint() -> None:
    """Fastfood's Π is the identity, in Pᵀ only."""
    patch_fastfood("permute", unpermuted, adjoint_only=True)


@mutation((HASHED,))
def signs_missing() -> None:
    """Parameters that share an entry of ω share its sign, too."""
    kind = hashed.Hashed
    rows, project, adjoint = kind._rows, kind._project, kind._adjoint

    def unsigned(self: Any, like: Tensor) -> Any:
        for start, stop, columns, signs in rows(self, like):
            yield start, stop, columns, torch.ones_like(signs)

    kind._rows = unsigned  # used for float64 only, hence the conversions
    kind._project = lambda self, omega: project(self, omega.double()).float()
    kind._adjoint = lambda self, theta: adjoint(self, theta.double()).float()
    train_through_maps(kind)
