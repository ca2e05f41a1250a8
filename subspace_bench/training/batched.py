"""Trains several runs at once, as one batch of nets with stacked parameters: θ is (N, D).

The runs differ in their seed only. Each net has its own θ₀, P, ω, batches and dropout masks, from
the same random streams as the run alone, so it follows the same trajectory up to rounding: matrix
products of many nets add in another order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from subspace_bench import models
from subspace_bench.common.errors import UserError
from subspace_bench.datasets.dataset import Dataset
from subspace_bench.projectors import Dense, Projector
from subspace_bench.records.config import RunConfig
from subspace_bench.subspace import FlatParameters
from subspace_bench.training import fused_adam
from subspace_bench.training.loop import make_batches, prepare
from subspace_bench.training.masks import DropoutMasks, with_masks
from subspace_bench.training.optimizers import (
    is_plain_adam,
    schedule,
    subspace_of,
    torch_optimizer,
)

WARM_UPS = 3  # steps before a CUDA graph is recorded: kernels compile, libraries set themselves up


class BatchedTraining:
    """N runs that take each step together; on CUDA, steps of Adam, and of SGD at a constant
    rate, replay a graph.

    Arguments:
        runs: equal but for their seeds.

    Attributes:
        trained: (N, d), or (N, D) for baselines.
        theta: (N, D).
        updates: steps so far.

    Raises:
        UserError: if the runs differ in more than their seeds, or treat biases apart.
    """

    def __init__(self, runs: Sequence[RunConfig], dataset: Dataset) -> None:
        require_equal_but_seeds(runs)
        self.runs, self.protocol, self.updates = list(runs), runs[0].protocol, 0
        nets = [prepare(run) for run in runs]
        self.theta = torch.stack([net.theta for net in nets])
        self.projectors: list[Projector] = []
        self.columns: Tensor | None = None  # (N, d, D), of projectors that store P in float32
        self.rows: Tensor | None = None
        trained = self.theta
        if runs[0].dim is not None:
            found = find_subspaces(runs, nets)
            self.projectors = [projector for projector, _, _ in found]
            self.origin = torch.stack([origin for _, origin, _ in found])
            trained = torch.stack([omega for _, _, omega in found])
            if runs[0].scaling == "fan-in":
                factor = (self.theta.shape[1] / runs[0].dim) ** 0.5
                self.rows = factor / models.fan_in(nets[0].module).sqrt().to(self.theta)
            self.columns = take_columns(self.projectors, self.theta.dtype)
        self.trained = nn.Parameter(trained)
        self.fused: fused_adam.BatchedStep | None = None
        plain = is_plain_adam(self.protocol)
        if plain and self.columns is not None and fused_adam.fits(self.columns):
            if self.rows is not None:
                self.columns.mul_(self.rows)
            self.fused = fused_adam.BatchedStep(
                self.columns, self.trained.detach(), self.origin, self.theta, self.protocol
            )
        self.optimizer = torch_optimizer(self.protocol, [self.trained])
        if plain and self.theta.is_cuda:  # numbers that change from step to step, for replays
            for group in self.optimizer.param_groups:
                group.update(capturable=True, lr=self.theta.new_tensor(group["lr"]))
        constant = self.protocol.optimizer == "sgd" and self.protocol.schedule == "constant"
        self.recordable = (plain or constant) and self.theta.is_cuda
        self.recorded: Recorded | None = None
        self.batches = [make_batches(run, dataset) for run in runs]
        for each in self.batches:  # one copy of the images on a GPU
            each.images, each.labels = self.batches[0].images, self.batches[0].labels
        self.module = with_masks(nets[0].module)
        self.shapes = {n: p.shape for n, p in self.module.named_parameters() if p.requires_grad}
        self.masks: dict[torch.Size, DropoutMasks] = {}  # by the shape of a batch

    def step(self) -> Tensor:
        """One update of every run; returns the losses (N,) before it."""
        x, y = self.draw_batches()
        masks = self.draw_masks(x)
        self.set_rates()
        if self.recordable and self.recorded is None and self.updates >= WARM_UPS:
            self.recorded = Recorded(self, x, y, masks)
        if self.recorded and self.recorded.x.shape == x.shape:
            losses = self.recorded.replay(x, y)
        else:  # also for the last batch of an epoch, which may be smaller
            losses = self.update(x, y, masks)
        self.updates += 1
        return losses

    def draw_batches(self) -> tuple[Tensor, Tensor]:
        """The next batch of each run, (N, B, …) and (N, B), in one copy to the device."""
        indices = [batches.indices(self.updates) for batches in self.batches]
        x, y = self.batches[0].take(np.concatenate(indices))
        return x.view(len(self.runs), -1, *x.shape[1:]), y.view(len(self.runs), -1)

    def set_rates(self) -> None:
        """Sets what of the next update depends on its number."""
        rate = self.protocol.lr * schedule(self.protocol, self.updates)
        if self.fused:
            self.fused.set_step(rate, self.updates + 1)
            return
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def update(self, x: Tensor, y: Tensor, masks: dict[str, Tensor]) -> Tensor:
        """One update on batches (N, B, …), labels (N, B) and masks; launches only, so that CUDA
        can record it."""
        theta = self.theta.detach().requires_grad_()
        self.module.train()
        logits = self.logits(theta, x, masks, 0)
        losses = F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none")
        losses = losses.view(y.shape).mean(1)
        [gradient] = torch.autograd.grad(losses.sum(), theta)
        with torch.no_grad():
            self.follow(gradient)
        return losses.detach()

    def follow(self, gradient: Tensor) -> None:
        """Updates ω by Pᵀg of each run, and θ."""
        if self.fused:
            self.fused(gradient)
            return
        if not self.projectors:
            self.trained.grad = gradient
            self.optimizer.step()
            return
        if self.rows is not None:
            gradient = gradient * self.rows
        self.trained.grad = self.adjoint(gradient)
        self.optimizer.step()
        change = self.project(self.trained.detach())
        if self.rows is not None:
            change = change * self.rows
        torch.add(self.origin, change, out=self.theta)

    def project(self, omega: Tensor) -> Tensor:
        """Pω of each run, (N, d) → (N, D)."""
        if self.columns is not None:
            return torch.bmm(omega[:, None], self.columns)[:, 0]
        return torch.stack([p(row) for p, row in zip(self.projectors, omega, strict=True)])

    def adjoint(self, gradient: Tensor) -> Tensor:
        """Pᵀg of each run, (N, D) → (N, d)."""
        if self.columns is not None:
            return torch.bmm(self.columns, gradient[:, :, None])[:, :, 0]
        pairs = zip(self.projectors, gradient, strict=True)
        return torch.stack([p.transpose(row) for p, row in pairs])

    def logits(
        self, theta: Tensor, x: Tensor, masks: dict[str, Tensor], of_x: int | None
    ) -> Tensor:
        """(N, B, 10); `of_x` is the dimension of x that counts runs, None if they share x."""
        sizes = [shape.numel() for shape in self.shapes.values()]
        parts = torch.split(theta, sizes, dim=1)
        pairs = zip(self.shapes.items(), parts, strict=True)
        parameters = {name: part.reshape(len(theta), *shape) for (name, shape), part in pairs}

        def forward(values: dict[str, Tensor], images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
            result: Tensor = functional_call(self.module, {**values, **drawn}, (images,))
            return result

        result: Tensor = vmap(forward, in_dims=(0, of_x, 0))(parameters, x, masks)
        return result

    def draw_masks(self, x: Tensor) -> dict[str, Tensor]:
        """Layer's mask → (N, B, …), each run's from its own stream."""
        if x.shape not in self.masks:  # the last batch of an epoch may be smaller
            seeds = [run.seed for run in self.runs]
            self.masks[x.shape] = DropoutMasks(self.module, seeds, x)
        return self.masks[x.shape].draw(self.updates)

    @torch.no_grad()
    def accuracies(self, images: Tensor, labels: Tensor, chunk: int = 500) -> list[float]:
        """Accuracy in % of each run on scaled images (M, 1, 28, 28), without dropout.

        NaN for a run with an output that is not finite.
        """
        self.module.eval()
        correct = torch.zeros(len(self.runs), dtype=torch.int64, device=self.theta.device)
        finite = torch.ones_like(correct, dtype=torch.bool)
        pairs = zip(torch.split(images, chunk), torch.split(labels, chunk), strict=True)
        for x, y in pairs:
            outputs = self.logits(self.theta, x, {}, None)
            correct += (outputs.argmax(2) == y).sum(1)
            finite &= outputs.isfinite().flatten(1).all(1)
        counted = zip(correct.tolist(), finite.tolist(), strict=True)
        return [round(100 * n / len(labels), 4) if fine else math.nan for n, fine in counted]


class Recorded:
    """A CUDA graph of `update`: one launch from the host instead of some hundred."""

    def __init__(
        self, training: BatchedTraining, x: Tensor, y: Tensor, masks: dict[str, Tensor]
    ) -> None:
        self.x, self.y = x, y = x.clone(), y.clone()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.losses = training.update(x, y, masks)

    def replay(self, x: Tensor, y: Tensor) -> Tensor:
        """`update` on new batches, and on the masks that were drawn in place."""
        self.x.copy_(x)
        self.y.copy_(y)
        self.graph.replay()
        return self.losses.clone()


def require_equal_but_seeds(runs: Sequence[RunConfig]) -> None:
    """Raises UserError, naming the fault."""
    if len({replace(run, seed=0) for run in runs}) != 1 or len(set(runs)) != len(runs):
        raise UserError("runs that train together must be equal but for their seeds")
    if runs[0].protocol.bias_lr != 1.0:
        raise UserError("runs with another learning rate for biases cannot train together")


def find_subspaces(
    runs: Sequence[RunConfig], nets: Sequence[FlatParameters]
) -> list[tuple[Projector, Tensor, Tensor]]:
    """`subspace_of` each run; from the author's draws, all have the same, which is drawn once."""
    if runs[0].draws == "author":
        return [subspace_of(runs[0], nets[0])] * len(runs)
    return [subspace_of(run, net) for run, net in zip(runs, nets, strict=True)]


def take_columns(projectors: list[Projector], dtype: torch.dtype) -> Tensor | None:
    """The columns of dense projectors, stacked (N, d, D), which they then share; None of others."""
    dense = [p for p in projectors if isinstance(p, Dense) and p.columns.dtype == dtype]
    if len(dense) < len(projectors) or not dense:
        return None
    first = dense[0].columns
    stacked = first.new_empty(len(dense), *first.shape)
    for piece, p in zip(stacked, dense, strict=True):
        piece.copy_(p.columns)
        p.columns = piece  # frees its own
    return stacked
