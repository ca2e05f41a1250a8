"""What faults are planted with.

A process trains many runs one after another: what a fault counts or keeps, it keeps on the
optimizer, net or module of one run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from subspace_bench.datasets.dataset import Dataset
from subspace_bench.training.optimizers import FusedSubspaceAdam, Optimizer, SubspaceOptimizer

data: Any = import_module("subspace_bench.datasets.loading")
models: Any = import_module("subspace_bench.models")
optimizers: Any = import_module("subspace_bench.training.optimizers")
train: Any = import_module("subspace_bench.training.loop")

SUBSPACE = (SubspaceOptimizer, FusedSubspaceAdam)
Update = Callable[[Any, Any, Any, Callable[[], None]], None]


def change_dataset(change: Callable[[Dataset], Dataset]) -> None:
    """What is loaded is changed; the digest stays, as nobody would notice."""
    plain = data.load
    data.load = lambda *a, **k: change(plain(*a, **k))


def change_net(change: Callable[[nn.Module], None]) -> None:
    """Nets are changed when they are built."""
    plain = models.build

    def build(name: str) -> nn.Module:
        net = plain(name)
        change(net)
        return net

    models.build = build


def change_protocol(**changes: Callable[[Any], Any]) -> None:
    """The optimizer is made from another protocol than the run says."""
    plain = train.make_optimizer

    def make(run: Any, net: Any) -> Any:
        new = {name: change(getattr(run.protocol, name)) for name, change in changes.items()}
        protocol = dataclasses.replace(run.protocol, **new)
        return plain(dataclasses.replace(run, protocol=protocol), net)

    train.make_optimizer = make


def change_schedule(factor: Callable[[Callable[..., float], Any, int], float]) -> None:
    """The factor on the rate is another function of (the plain one, protocol, updates)."""
    plain = optimizers.schedule
    optimizers.schedule = lambda protocol, updates: factor(plain, protocol, updates)


def change_step(backward: Callable[[Any, Tensor, Tensor], Tensor]) -> None:
    """`backward(net, x, y)` leaves a gradient in `net.gradient` and returns the loss."""

    def step(net: Any, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
        net.module.train()
        loss = backward(net, x, y)
        optimizer.step()
        return loss.detach()

    train.step = step


def change_loss(loss_of: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Another loss of logits and labels."""

    def backward(net: Any, x: Tensor, y: Tensor) -> Tensor:
        net.gradient.zero_()
        loss = loss_of(net.module(x), y)
        loss.backward()
        return loss

    change_step(backward)


def change_update(
    act: Update, kinds: type[Optimizer] | tuple[type[Optimizer], ...] = Optimizer
) -> None:
    """`act(run, net, optimizer, update)` stands in for the update of optimizers of these kinds."""
    plain = train.make_optimizer

    def make(run: Any, net: Any) -> Any:
        made = plain(run, net)
        if isinstance(made, kinds):
            update = made.step
            made.step = lambda: act(run, net, made, update)
        return made

    train.make_optimizer = make


def at_test(change: Callable[[Any], None]) -> None:
    """Parameters of a module are changed for the time of a test."""
    plain = train.evaluate

    @torch.no_grad()
    def evaluate(module: nn.Module, *arguments: Any) -> float:
        kept = [p.clone() for p in module.parameters()]
        change(module)
        try:
            return plain(module, *arguments)
        finally:
            for p, before in zip(module.parameters(), kept, strict=True):
                p.copy_(before)

    train.evaluate = evaluate


def write(theta: Tensor, module: nn.Module) -> None:
    """θ (D,) into the parameters of a module."""
    parts = list(module.parameters())
    for p, values in zip(parts, theta.split([p.numel() for p in parts]), strict=True):
        p.copy_(values.view_as(p))
