"""A small net in a `Subspace`: trained in a CUDA graph, and compiled."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.kernel_checks import gaussian, relative_error, require
from benchmarks.gpu.stages import Values
from subspace_bench import Subspace
from subspace_bench.profiling.stopwatch import WARM_UPS, recorded


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
    warm_ups = WARM_UPS if device == "cuda" else 0  # of `recorded`
    for _ in range(5 + warm_ups):
        step()
    with recorded(stepper(net), 1, device) as replay:
        for _ in range(5):
            replay()
    error = relative_error(net.omega.detach(), eager.omega.detach())
    require(error < 1e-4, f"ω is off by {error:.2g}")
    return {"float32": error}


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
