"""Trains several runs at once, as one batch of nets with stacked parameters: θ is (N, D).

The runs differ in their seed only. Each net has its own θ₀, P, ω, batches and dropout masks, from
the same random streams as the run alone, so it follows the same trajectory up to rounding: matrix
products of many nets add in another order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from subspace_bench import models
from subspace_bench.common.errors import UserError
from subspace_bench.common.rng import seed_torch
from subspace_bench.datasets.dataset import Dataset
from subspace_bench.models import ConvPoolRelu
from subspace_bench.projectors import Dense, Projector
from subspace_bench.records.config import RunConfig
from subspace_bench.training.loop import make_batches, prepare
from subspace_bench.training.optimizers import schedule, subspace_of, torch_optimizer


class MaskedDropout(nn.Module):
    """Dropout by a given mask of 0 and 1/(1 − p)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.register_buffer("mask", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.get_buffer("mask") if self.training else x

    def draw(self, shape: torch.Size, like: Tensor) -> Tensor:
        """The mask that `nn.Dropout` draws for an input of this shape."""
        return F.dropout(like.new_ones(shape), self.p)


class MaskedConvPoolRelu(ConvPoolRelu):
    """`ConvPoolRelu` with a given mask of its channels."""

    def __init__(
        self, cin: int, cout: int, kernel: int, dropout2d: float, relu: bool, padding: int
    ) -> None:
        super().__init__(cin, cout, kernel, dropout2d, relu, padding)
        self.register_buffer("mask", torch.ones(()))

    def channel_scale(self, x: Tensor) -> Tensor | None:
        return self.get_buffer("mask") if self.training else None

    def draw(self, shape: torch.Size, like: Tensor) -> Tensor:
        """The mask of `ConvPoolRelu` for a batch of this shape."""
        mask = ConvPoolRelu.channel_scale(self, like.new_empty(shape[:1]))
        assert mask is not None
        return mask


class BatchedTraining:
    """N runs that take each step together.

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
            found = [subspace_of(run, net) for run, net in zip(runs, nets, strict=True)]
            self.projectors = [projector for projector, _, _ in found]
            self.origin = torch.stack([origin for _, origin, _ in found])
            trained = torch.stack([omega for _, _, omega in found])
            if runs[0].scaling == "fan-in":
                factor = (self.theta.shape[1] / runs[0].dim) ** 0.5
                self.rows = factor / models.fan_in(nets[0].module).sqrt().to(self.theta)
            self.columns = take_columns(self.projectors, self.theta.dtype)
        self.trained = nn.Parameter(trained)
        self.optimizer = torch_optimizer(self.protocol, [self.trained])
        self.batches = [make_batches(run, dataset) for run in runs]
        for each in self.batches:  # one copy of the images on a GPU
            each.images, each.labels = self.batches[0].images, self.batches[0].labels
        self.module = with_masks(nets[0].module)
        self.shapes = {n: p.shape for n, p in self.module.named_parameters() if p.requires_grad}
        self.drawn: dict[str, torch.Size] | None = None  # layer → shape of its input, per image

    def step(self) -> Tensor:
        """One update of every run; returns the losses (N,) before it."""
        pairs = [batches(self.updates) for batches in self.batches]
        x, y = (torch.stack(parts) for parts in zip(*pairs, strict=True))
        masks = self.draw_masks(x)
        for group in self.optimizer.param_groups:
            group["lr"] = self.protocol.lr * schedule(self.protocol, self.updates)
        losses = self.update(x, y, masks)
        self.updates += 1
        return losses

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
        layers = {name: part for name, part in self.module.named_modules()
                  if isinstance(part, (MaskedDropout, MaskedConvPoolRelu))}  # fmt: skip
        if not layers:
            return {}
        if self.drawn is None:
            self.drawn = input_shapes(self.module, layers, x[0])
        masks: dict[str, list[Tensor]] = {name: [] for name in self.drawn}
        self.module.train()
        for run in self.runs:
            seed_torch(run.seed, "dropout", self.updates)
            for name, shape in self.drawn.items():
                size = torch.Size((x.shape[1], *shape))
                masks[name].append(layers[name].draw(size, x))
        return {f"{name}.mask": torch.stack(drawn) for name, drawn in masks.items()}

    @torch.no_grad()
    def accuracies(self, images: Tensor, labels: Tensor, chunk: int = 500) -> list[float]:
        """Accuracy in % of each run on scaled images (M, 1, 28, 28), without dropout."""
        self.module.eval()
        correct = torch.zeros(len(self.runs), dtype=torch.int64, device=self.theta.device)
        pairs = zip(torch.split(images, chunk), torch.split(labels, chunk), strict=True)
        for x, y in pairs:
            correct += (self.logits(self.theta, x, {}, None).argmax(2) == y).sum(1)
        return [round(100 * n / len(labels), 4) for n in correct.tolist()]


def require_equal_but_seeds(runs: Sequence[RunConfig]) -> None:
    """Raises UserError, naming the fault."""
    if len({replace(run, seed=0) for run in runs}) != 1 or len(set(runs)) != len(runs):
        raise UserError("runs that train together must be equal but for their seeds")
    if runs[0].protocol.bias_lr != 1.0:
        raise UserError("runs with another learning rate for biases cannot train together")


def take_columns(projectors: list[Projector], dtype: torch.dtype) -> Tensor | None:
    """The columns of dense projectors, stacked (N, d, D), which they then share; None of others."""
    dense = [p for p in projectors if isinstance(p, Dense) and p.columns.dtype == dtype]
    if len(dense) < len(projectors):
        return None
    first = dense[0].columns
    stacked = first.new_empty(len(dense), *first.shape)
    for piece, p in zip(stacked, dense, strict=True):
        piece.copy_(p.columns)
        p.columns = piece  # frees its own
    return stacked


def with_masks(module: nn.Module) -> nn.Module:
    """The module with layers that are given their dropout masks; its parameters are in order."""
    for name, part in list(module.named_children()):
        if isinstance(part, nn.Dropout) and part.p:
            setattr(module, name, MaskedDropout(part.p))
        elif isinstance(part, ConvPoolRelu) and part.dropout2d:
            cout, cin, kernel, _ = part.weight.shape
            options = part.dropout2d, part.relu, part.padding
            layer = MaskedConvPoolRelu(cin, cout, kernel, *options).to(part.weight)
            setattr(module, name, layer)
        else:
            with_masks(part)
    return module


def input_shapes(
    module: nn.Module, layers: Mapping[str, nn.Module], x: Tensor
) -> dict[str, torch.Size]:
    """The shape of one image's input to each layer, in the order in which they run."""
    shapes: dict[str, torch.Size] = {}

    def note(name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        shapes[name] = inputs[0].shape[1:]

    hooks = [layer.register_forward_pre_hook(partial(note, name)) for name, layer in layers.items()]
    module.eval()
    with torch.no_grad():
        module(x[:1])
    for hook in hooks:
        hook.remove()
    return shapes
