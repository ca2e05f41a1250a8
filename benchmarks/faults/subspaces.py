"""Projectors and subspaces."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from benchmarks.faults import SUBSPACES, fault

models: Any = import_module("subspace_bench.models")
optimizers: Any = import_module("subspace_bench.optimizers")
projectors: Any = import_module("subspace_bench.projectors")
train: Any = import_module("subspace_bench.train")


def change_projector(kind: str, **methods: Callable[..., Any]) -> None:
    """Methods of a projector's class are replaced; each gets the plain one first."""
    cls = projectors.load(kind)
    for name, method in methods.items():
        plain = getattr(cls, name)
        setattr(cls, name, lambda self, x, m=method, p=plain: m(lambda v: p(self, v), self, x))


def change_subspace(change: Callable[[Any, Tensor, Tensor], Any]) -> None:
    """(P, θ₀, ω₀) are changed after they were made."""
    plain = optimizers.subspace_of
    optimizers.subspace_of = lambda run, net: change(*plain(run, net))


@fault(SUBSPACES)
def rows_not_scaled() -> None:
    """P's rows are not scaled by fan-in, only as a whole."""
    models.fan_in = lambda module: torch.full((models.parameter_count(module),), 320.0)


@fault(SUBSPACES)
def columns_off_by_2() -> None:
    """P is twice as large as it should be."""
    plain = models.fan_in
    models.fan_in = lambda module: plain(module) / 4


@fault(SUBSPACES)
def columns_off_by_10_percent() -> None:
    """P is 10% larger than it should be."""
    plain = models.fan_in
    models.fan_in = lambda module: plain(module) / 1.21


@fault(SUBSPACES)
def omega_starts_off_zero() -> None:
    """ω₀ is N(0, 0.3²) and not zero."""

    def change(p: Any, origin: Tensor, omega: Tensor) -> tuple[Any, Tensor, Tensor]:
        omega = omega + 0.3 * torch.randn(len(omega), generator=torch.Generator().manual_seed(1))
        return p, origin, omega

    change_subspace(change)


@fault(SUBSPACES)
def origin_forgotten() -> None:
    """θ = Pω where it should be θ₀ + Pω."""
    change_subspace(lambda p, origin, omega: (p, torch.zeros_like(origin), omega))


@fault(("orthonormal",))
def projector_not_frozen() -> None:
    """P is trained along with ω."""
    plain = optimizers.make_optimizer

    def make(run: Any, net: Any) -> Any:
        made = plain(run, net)
        step = made.step

        def moved() -> None:
            made.projector.columns.addr_(made.trained, net.gradient, alpha=-1e-2)
            step()

        made.step = moved
        return made

    train.make_optimizer = make


@fault(("fastfood", "hashed"))
def projector_redrawn_every_50_steps() -> None:
    """P changes while ω stays: what was learnt is scrambled."""
    plain = optimizers.make_optimizer

    def make(run: Any, net: Any) -> Any:
        made = plain(run, net)
        step, count = made.step, [0]

        def redrawn() -> None:
            count[0] += 1
            if count[0] % 50 == 0:
                made.projector = projectors.make(
                    run.projector, made.projector.native, run.dim, count[0]
                )
            step()

        made.step = redrawn
        return made

    train.make_optimizer = make


@fault(("fastfood", "hashed"))
def adjoint_of_a_part_of_theta() -> None:
    """Pᵀ leaves the last layers of θ out."""
    for kind in ("fastfood", "hashed"):
        change_projector(
            kind,
            _adjoint=lambda plain, self, theta: plain(
                torch.cat([theta[:, :20_000], torch.zeros_like(theta[:, 20_000:])], 1)
            ),
        )


@fault(("fastfood", "hashed"))
def only_half_of_omega() -> None:
    """The second half of ω is lost."""
    for kind in ("fastfood", "hashed"):
        change_projector(
            kind,
            _project=lambda plain, self, w: plain(
                torch.cat([w[:, : w.shape[1] // 2], torch.zeros_like(w[:, w.shape[1] // 2 :])], 1)
            ),
        )


@fault(SUBSPACES)
def d_off_by_a_tenth() -> None:
    """The subspace has 900 dimensions instead of 1,000."""
    plain = train.make_optimizer

    def make(run: Any, net: Any) -> Any:
        return plain(dataclasses.replace(run, dim=900) if run.dim else run, net)

    train.make_optimizer = make


@fault(SUBSPACES)
def one_seed_for_everything() -> None:
    """P's entries come from the stream that initialised θ."""
    plain = projectors.make
    projectors.make = lambda name, native, dim, seed, **rest: plain(name, native, dim, 0, **rest)
