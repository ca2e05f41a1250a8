"""A small net in a `Subspace`: trained in a CUDA graph, and compiled."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.kernel_checks import gaussian, relative_error, require
from benchmarks.gpu.stages import Values
from subspace_bench import Subspace
from subspace_bench.common.rng import seed_torch
from subspace_bench.datasets.dataset import Dataset
from subspace_bench.datasets.embedded import embedded_digits
from subspace_bench.profiling import stopwatch
from subspace_bench.records.config import RunConfig, TrainingConfig
from subspace_bench.training.batched import WARM_UPS, BatchedTraining
from subspace_bench.training.loop import make_batches, prepare, step
from subspace_bench.training.optimizers import make_optimizer

STEPS = 6
CLOSE = 1e-3  # relative; after STEPS steps


def subspace(device: str) -> tuple[Subspace, Tensor, Tensor]:
    """A small net in a subspace, with a batch."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 5)).to(device)
    return Subspace(net, 40, "fastfood", seed=1), gaussian(1, 16, 20).to(device), torch.arange(
        16, device=device
    ) % 5  # fmt: skip


def loss_and_gradient(net: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Of the mean cross-entropy, with ω's gradient."""
    loss = nn.functional.cross_entropy(net(x), y)
    [omega] = [p for p in net.parameters() if p.requires_grad]
    [gradient] = torch.autograd.grad(loss, omega)
    return loss.detach(), gradient


def trains_in_a_graph(device: str) -> Values:
    """Five Adam steps of a Subspace under one CUDA graph give the ω of five eager ones."""
    net, x, y = subspace(device)
    eager = copy.deepcopy(net)
    capturable = device == "cuda"

    def stepper(which: Subspace) -> Callable[[], None]:
        omega = which.omega
        adam = torch.optim.Adam([omega], lr=1e-2, capturable=capturable)
        omega.grad = torch.zeros_like(omega)

        def step() -> None:
            adam.zero_grad(set_to_none=False)
            nn.functional.cross_entropy(which(x), y).backward()  # type: ignore[no-untyped-call]
            adam.step()

        return step

    step = stepper(eager)
    warm_ups = stopwatch.WARM_UPS if device == "cuda" else 0  # of `recorded`
    for _ in range(5 + warm_ups):
        step()
    with stopwatch.recorded(stepper(net), 1, device) as replay:
        for _ in range(5):
            replay()
    error = relative_error(net.omega.detach(), eager.omega.detach())
    require(error < 1e-4, f"ω is off by {error:.2g}")
    return {"float32": error}


def training_never_waits(device: str) -> Values:
    """A training step waits for the device at no point, alone and batched, on a dense P (the fused
    step), a hashed one and none, also by SGD; batched steps in a CUDA graph lead where steps alone
    do."""
    dataset, errors = embedded_digits(), []
    adam = TrainingConfig(steps=STEPS, batch=4, lr=1e-3)
    sgd = replace(adam, optimizer="sgd", momentum=0.9)
    for projector, protocol in ((None, adam), ("gaussian", adam), ("hashed", adam), (None, sgd)):
        run = RunConfig("conv", "he", protocol, device=device, dataset=dataset.name)
        if projector:
            run = replace(run, dim=30, projector=projector, scaling="fan-in")
        runs = [replace(run, seed=seed) for seed in (0, 1)]
        batch = BatchedTraining(runs, dataset)
        for _ in range(WARM_UPS + 1):  # the last records the graph
            batch.step()
        with refused_waits(device):
            for _ in range(STEPS - batch.updates):
                batch.step()
        for net, run in zip(batch.theta, runs, strict=True):
            errors.append(relative_error(net, train_alone(run, dataset)))
    require(max(errors) < CLOSE, f"a batched θ is off by {max(errors):.2g}")
    return {"float32": max(errors)}


def train_alone(run: RunConfig, dataset: Dataset) -> Tensor:
    """θ after STEPS steps, of which only the first may wait for the device."""
    net = prepare(run)
    optimizer, batches = make_optimizer(run, net), make_batches(run, dataset)
    for update in range(STEPS):
        with refused_waits(run.device) if update else nullcontext():
            x, y = batches(update)
            seed_torch(run.seed, "dropout", update)
            step(net, optimizer, x, y)
    return net.theta


@contextmanager
def refused_waits(device: str) -> Iterator[None]:
    """Raises where the host would wait for the device."""
    if device == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("default")


def compiles(device: str) -> Values:
    """`torch.compile` of a Subspace gives the same loss and gradient."""
    if device != "cuda":
        return {"status": "left out: tested on the CPU elsewhere"}
    net, x, y = subspace(device)
    expected = loss_and_gradient(net, x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = loss_and_gradient(torch.compile(net), x, y)
    error = max(map(relative_error, found, expected))
    require(error < 1e-4, f"loss or gradient are off by {error:.2g}")
    return {"float32": error}
