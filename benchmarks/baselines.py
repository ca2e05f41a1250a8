"""Three implementations of one training step, θ = θ₀ + Pω (or θ itself for a baseline run).

Each function takes a run and its data and returns `step()`, which makes one update and returns the
loss. All start from the same θ₀, P and ω₀.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.data import DataLoader, TensorDataset

from subspace_bench import models
from subspace_bench.common.rng import seed_torch
from subspace_bench.datasets.dataset import Dataset
from subspace_bench.models import ConvPoolRelu
from subspace_bench.records.config import RunConfig
from subspace_bench.subspace import FlatParameters
from subspace_bench.training.loop import make_batches, prepare
from subspace_bench.training.loop import step as one_step
from subspace_bench.training.optimizers import make_optimizer, subspace_of

Step = Callable[[], Tensor]


def post_step(run: RunConfig, dataset: Dataset) -> Step:
    """As in the post: a newly shuffled DataLoader per batch, θ split up, autograd through Pω."""
    pixels = dataset.train_images.float().div(255).unsqueeze(1)
    mnist = TensorDataset(pixels, dataset.train_labels)
    net = torch_layers(run.model)
    P, origin, omega = start(run)
    if P is not None:
        P = P.contiguous()
    omega.requires_grad_()
    optimizer = torch.optim.Adam([omega], lr=run.protocol.lr, betas=run.protocol.betas)

    def step() -> Tensor:
        x, y = next(iter(DataLoader(mnist, batch_size=run.protocol.batch, shuffle=True)))
        theta = omega if P is None else origin + P @ omega
        weights, i = {}, 0
        for name, parameter in net.named_parameters():
            n = parameter.numel()
            weights[name] = theta[i : i + n].view(parameter.shape)
            i += n
        loss = F.cross_entropy(functional_call(net, weights, (x,)), y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return step


def eager_step(run: RunConfig, dataset: Dataset) -> Step:
    """Data in memory, one flat θ viewed by torch's layers, two passes over P, torch's Adam."""
    net = FlatParameters(torch_layers(run.model))
    P, origin, omega = start(run)
    net.theta.copy_(omega if P is None else origin + P @ omega)
    trained = nn.Parameter(net.theta if P is None else omega)
    optimizer = torch.optim.Adam([trained], lr=run.protocol.lr, betas=run.protocol.betas)
    images, labels = dataset.train_images, dataset.train_labels
    random = np.random.default_rng(run.seed)

    def step() -> Tensor:
        draw = random.choice(len(labels), run.protocol.batch, replace=False, shuffle=False)
        chosen = torch.from_numpy(draw)
        x = images[chosen].unsqueeze(1).float().div_(255)
        net.gradient.zero_()
        loss = F.cross_entropy(net.module(x), labels[chosen])
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            trained.grad = net.gradient if P is None else net.gradient @ P
            optimizer.step()
            if P is not None:
                net.theta.copy_(origin + P @ trained)
        return loss.detach()

    return step


def fast_step(run: RunConfig, dataset: Dataset) -> Step:
    """The step of this package."""
    net = prepare(run)
    optimizer = make_optimizer(run, net)
    batches = make_batches(run, dataset)
    updates = iter(range(10**9))

    def step() -> Tensor:
        i = next(updates)
        x, y = batches(i)
        seed_torch(run.seed, "dropout", i)
        return one_step(net, optimizer, x, y)

    return step


METHODS: dict[str, Callable[[RunConfig, Dataset], Step]] = {
    "post's way": post_step,
    "resident eager": eager_step,
    "fast": fast_step,
}


def start(run: RunConfig) -> tuple[Tensor | None, Tensor, Tensor]:
    """(P as (D, d), θ₀, ω₀) from the package; (None, θ_init, θ_init) for a baseline."""
    net = prepare(run)
    if run.dim is None:
        return None, net.theta, net.theta.clone()
    projector, origin, omega = subspace_of(run, net)
    return projector.get_buffer("columns").T, origin, omega


def torch_layers(model: str) -> nn.Module:
    """The model with torch's layers and parameters in the same order."""
    net = models.build(model).train()
    for name, part in list(net.named_children()):
        if isinstance(part, ConvPoolRelu):
            cout, cin, kernel, _ = part.weight.shape
            layers = [
                nn.Conv2d(cin, cout, kernel, padding=part.padding),
                nn.Dropout2d(part.dropout2d),
                nn.MaxPool2d(2),
            ]
            setattr(net, name, nn.Sequential(*layers, *([nn.ReLU()] if part.relu else [])))
    return net
