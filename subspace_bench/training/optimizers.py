"""Optimizers of ω or of θ: torch's, and Adam fused with the projection (fused_adam.py).

In a subspace, ω follows Pᵀg and θ = θ₀ + Pω; in a baseline, θ follows g.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from subspace_bench import models, projectors
from subspace_bench.models.initialization import sigmas
from subspace_bench.projectors import Dense, Projector
from subspace_bench.records.config import RunConfig, TrainingConfig
from subspace_bench.subspace import FlatParameters
from subspace_bench.training import author_draws, fused_adam


class Optimizer(ABC):
    """Reads the gradient in `net.gradient`, updates `trained`, and writes θ to `net.theta`.

    Attributes:
        trained: ω (d,), or θ (D,) for a baseline.
        tensors: name → a tensor that the next step depends on, θ among them.
        optimizer: torch's, if it makes the update.
        updates: number of updates so far.
    """

    trained: Tensor
    tensors: dict[str, Tensor]
    optimizer: torch.optim.Optimizer | None = None

    def __init__(self, protocol: TrainingConfig, net: FlatParameters) -> None:
        self.protocol, self.net = protocol, net
        self.updates = 0

    @abstractmethod
    def step(self) -> None:
        """One update."""

    def rate(self) -> float:
        """The learning rate of the next update."""
        return self.protocol.lr * schedule(self.protocol, self.updates)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        state: dict[str, Any] = {**self.tensors, "updates": self.updates}
        if self.optimizer is not None:
            state["optimizer"] = self.optimizer.state_dict()
        return state

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores `state_dict`, including θ."""
        for name, tensor in self.tensors.items():
            tensor.copy_(state[name])
        self.updates = state["updates"]
        if self.optimizer is not None:
            self.optimizer.load_state_dict(state["optimizer"])


def make_optimizer(run: RunConfig, net: FlatParameters) -> Optimizer:
    """The optimizer of a run, with its projector: the fused one where possible.

    Raises:
        UserError: for an unknown projector or a dimension outside 1 … D.
    """
    if run.dim is None or run.projector is None:
        return FullSpaceOptimizer(run.protocol, net)
    projector, origin, omega = subspace_of(run, net)
    rows = None
    if run.scaling == "fan-in":
        rows = (origin.numel() / run.dim) ** 0.5 / models.fan_in(net.module).sqrt().to(origin)
    fusable = is_plain_adam(run.protocol) and run.dtype == "float32"
    if fusable and isinstance(projector, Dense) and fused_adam.fits(projector.columns):
        if rows is not None:
            projector.columns.mul_(rows)
        return FusedSubspaceAdam(run.protocol, net, projector, origin, omega)
    return SubspaceOptimizer(run.protocol, net, projector, origin, omega, rows)


def is_plain_adam(protocol: TrainingConfig) -> bool:
    """Whether the protocol has Adam without weight decay, which the fused steps compute."""
    return protocol.optimizer == "adam" and not protocol.weight_decay


def subspace_of(run: RunConfig, net: FlatParameters) -> tuple[Projector, Tensor, Tensor]:
    """(P, θ₀, ω₀) of a run, with θ₀ + Pω₀ = θ_init.

    Origin "zero" is the post's: θ₀ = 0, P's first column is parallel to θ_init, and
    ω₀ = (θ_init[i]/P[i,0], 0, …, 0) for any i. Origin "init" is Li et al.'s: θ₀ = θ_init, ω₀ = 0.
    """
    assert run.dim is not None
    assert run.projector is not None
    theta = net.theta
    through_zero = run.origin == "zero"
    if run.draws == "author":
        projector: Projector = author_draws.projector(run.model, run.dim, sigmas(run.init))
    else:
        projector = projectors.make(
            run.projector,
            theta.numel(),
            run.dim,
            run.seed,
            first=theta.float() if through_zero else None,
            layers=[p.numel() for p in net.parameters],
        )
    projector = projector.to(theta.device)
    omega = theta.new_zeros(run.dim)
    if not through_zero:
        return projector, theta.clone(), omega
    # The post uses i = 0; the largest |θ_init[i]| loses the fewest digits.
    row = int(theta.abs().argmax())
    unit = theta.new_zeros(run.dim)
    unit[0] = 1
    omega[0] = theta[row] / projector(unit)[row]
    return projector, torch.zeros_like(theta), omega


def torch_optimizer(protocol: TrainingConfig, groups: Any) -> torch.optim.Optimizer:
    """torch's Adam or SGD with the protocol's constants."""
    if protocol.optimizer == "adam":
        return torch.optim.Adam(
            groups,
            protocol.lr,
            betas=protocol.betas,
            eps=protocol.eps,
            weight_decay=protocol.weight_decay,
        )
    return torch.optim.SGD(
        groups,
        protocol.lr,
        momentum=protocol.momentum,
        nesterov=protocol.nesterov,
        weight_decay=protocol.weight_decay,
    )


def schedule(protocol: TrainingConfig, updates: int) -> float:
    """The factor on the learning rate after `updates` updates."""
    if protocol.schedule == "inv":  # Caffe's
        return float((1 + protocol.gamma * updates) ** -protocol.power)
    if protocol.schedule == "one-cycle":  # Smith and Topin 2017
        rise = protocol.steps / 4
        now = updates + 0.5
        if now < rise:
            return now / rise
        return 0.5 + 0.5 * math.cos(math.pi * (now - rise) / (protocol.steps - rise))
    return 1.0


class FullSpaceOptimizer(Optimizer):
    """Trains θ itself with torch's optimizer: the baseline."""

    def __init__(self, protocol: TrainingConfig, net: FlatParameters) -> None:
        super().__init__(protocol, net)
        self.trained = net.theta
        self.tensors = {"theta": net.theta}
        if protocol.bias_lr == 1.0:  # one vector gives the same result with less overhead
            theta = torch.nn.Parameter(net.theta, requires_grad=False)
            theta.grad = net.gradient
            groups: list[dict[str, Any]] = [{"params": [theta], "factor": 1.0}]
        else:
            weights = [p for p in net.parameters if p.ndim > 1]
            biases = [p for p in net.parameters if p.ndim == 1]
            groups = [
                {"params": weights, "factor": 1.0},
                {"params": biases, "factor": protocol.bias_lr},
            ]
        self.optimizer: torch.optim.Optimizer = torch_optimizer(protocol, groups)

    def step(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate() * group["factor"]
        self.optimizer.step()
        self.updates += 1


class SubspaceOptimizer(Optimizer):
    """Trains ω with torch's optimizer, for any projector, device and dtype.

    Arguments:
        rows: factors on P's rows, (D,); None for 1.
    """

    def __init__(
        self,
        protocol: TrainingConfig,
        net: FlatParameters,
        projector: Projector,
        origin: Tensor,
        omega: Tensor,
        rows: Tensor | None = None,
    ) -> None:
        super().__init__(protocol, net)
        self.projector, self.origin, self.rows = projector, origin, rows
        self.trained = torch.nn.Parameter(omega)
        self.tensors = {"omega": self.trained.detach(), "theta": net.theta}
        self.optimizer: torch.optim.Optimizer = torch_optimizer(protocol, [self.trained])

    @torch.no_grad()
    def step(self) -> None:
        self.optimizer.param_groups[0]["lr"] = self.rate()
        gradient = self.net.gradient
        if self.rows is not None:
            gradient = gradient * self.rows
        self.trained.grad = self.projector.transpose(gradient)
        self.optimizer.step()
        change = self.projector(self.trained)
        if self.rows is not None:
            change.mul_(self.rows)
        torch.add(self.origin, change, out=self.net.theta)
        self.updates += 1


class FusedSubspaceAdam(Optimizer):
    """Trains ω with Adam in a kernel that reads a stored P once per step instead of twice.

    It computes Pᵀg, Adam's update and Pω column by column; see `fused_adam`.
    """

    def __init__(
        self,
        protocol: TrainingConfig,
        net: FlatParameters,
        projector: Dense,
        origin: Tensor,
        omega: Tensor,
    ) -> None:
        super().__init__(protocol, net)
        self.projector, self.origin, self.trained = projector, origin, omega
        self.m, self.v = torch.zeros_like(omega), torch.zeros_like(omega)
        self.tensors = {"omega": omega, "m": self.m, "v": self.v, "theta": net.theta}
        self.act = fused_adam.make_step(projector.columns)

    def step(self) -> None:
        beta1, beta2 = self.protocol.betas
        self.act(
            self.projector.columns,
            self.net.gradient,
            self.trained,
            self.m,
            self.v,
            self.origin,
            self.net.theta,
            lr=self.rate(),
            beta1=beta1,
            beta2=beta2,
            eps=self.protocol.eps,
            t=self.updates + 1,
        )
        self.updates += 1
