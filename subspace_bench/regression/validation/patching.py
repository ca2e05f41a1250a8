"""Helpers that plant mutations: they replace functions of the package in this process, for good.

A process trains many runs one after another, so a mutation keeps its state on the optimizer, the
model or the module of one run.
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


def _module(name: str) -> Any:
    return import_module(f"subspace_bench.{name}")


# The modules that mutations patch, as Any: mypy finds assignments to functions wrong, with reason.
batches = _module("datasets.batches")
fastfood = _module("projectors.fastfood")
hashed = _module("projectors.hashed")
initialization = _module("models.initialization")
layers = _module("models.layers")
loading = _module("datasets.loading")
loop = _module("training.loop")
models = _module("models")
optimizers = _module("training.optimizers")
orthonormal = _module("projectors.orthonormal")
projectors = _module("projectors")

SUBSPACE = (SubspaceOptimizer, FusedSubspaceAdam)
Update = Callable[[Any, Any, Any, Callable[[], None]], None]


def patch_dataset(change: Callable[[Dataset], Dataset]) -> None:
    """Changes a dataset when it is loaded. Its digest stays: nobody is to notice."""
    original = loading.load
    loading.load = lambda *args, **kwargs: change(original(*args, **kwargs))


def patch_model(change: Callable[[nn.Module], None]) -> None:
    """Changes a network when it is built."""
    original = models.build

    def build(name: str) -> nn.Module:
        module = original(name)
        change(module)
        return module

    models.build = build


def patch_protocol(**changes: Callable[[Any], Any]) -> None:
    """Makes the optimizer from a protocol whose fields are changed."""
    original = loop.make_optimizer

    def make_optimizer(run: Any, flat: Any) -> Any:
        fields = {name: change(getattr(run.protocol, name)) for name, change in changes.items()}
        protocol = dataclasses.replace(run.protocol, **fields)
        return original(dataclasses.replace(run, protocol=protocol), flat)

    loop.make_optimizer = make_optimizer


def patch_schedule(factor: Callable[[Callable[..., float], Any, int], float]) -> None:
    """Replaces the factor on the rate by `factor(original, protocol, updates)`."""
    original = optimizers.schedule
    optimizers.schedule = lambda protocol, updates: factor(original, protocol, updates)


def patch_step(backward: Callable[[Any, Tensor, Tensor], Tensor]) -> None:
    """Replaces the training step: `backward(flat, x, y)` sets the gradient and returns the loss."""

    def step(flat: Any, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
        flat.module.train()
        loss = backward(flat, x, y)
        optimizer.step()
        return loss.detach()

    loop.step = step


def patch_loss(loss_of: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Replaces the loss, a function of logits and labels."""

    def backward(flat: Any, x: Tensor, y: Tensor) -> Tensor:
        flat.gradient.zero_()
        loss = loss_of(flat.module(x), y)
        loss.backward()
        return loss

    patch_step(backward)


def patch_update(
    act: Update, kinds: type[Optimizer] | tuple[type[Optimizer], ...] = Optimizer
) -> None:
    """Replaces the update of such optimizers by `act(run, flat, optimizer, update)`."""
    original = loop.make_optimizer

    def make_optimizer(run: Any, flat: Any) -> Any:
        optimizer = original(run, flat)
        if isinstance(optimizer, kinds):
            update = optimizer.step
            optimizer.step = lambda: act(run, flat, optimizer, update)
        return optimizer

    loop.make_optimizer = make_optimizer


def patch_evaluation(change: Callable[[Any], None]) -> None:
    """Changes the parameters of a module during an evaluation only."""
    original = loop.evaluate

    @torch.no_grad()
    def evaluate(module: nn.Module, *args: Any) -> float:
        saved = [p.clone() for p in module.parameters()]
        change(module)
        try:
            return original(module, *args)
        finally:
            for p, before in zip(module.parameters(), saved, strict=True):
                p.copy_(before)

    loop.evaluate = evaluate


def set_parameters(theta: Tensor, module: nn.Module) -> None:
    """Copies θ (D,) into the parameters of a module."""
    parameters = list(module.parameters())
    for p, values in zip(parameters, theta.split([p.numel() for p in parameters]), strict=True):
        p.copy_(values.view_as(p))
