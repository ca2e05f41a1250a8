"""Nets of which training chooses the numbers: d weights, or d directions of a subspace."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from entries.training import BATCH, fit
from subspace_bench import Subspace

GRADIENT_BATCHES = 20  # averaged before directions are chosen
COLUMNS = 2**16  # the most that 16 bits tell apart


def pack(values: Tensor, index: Tensor) -> Tensor:
    """Numbers of 32 bits: 16 say which entry of a vector, 16 are its value, a float16.

    Arguments:
        values: (n,), the vector.
        index: (d,), the entries to keep, below 2¹⁶.
    """
    low = torch.where(index >= 2**15, index - 2**16, index).to(torch.int16)
    kept = values.detach()[index].half().view(torch.int16)
    return torch.stack([low, kept], 1).view(torch.int32)[:, 0]


def unpack(packed: Tensor, count: int) -> Tensor:
    """The vector of `count` entries that `pack` made numbers of; zero elsewhere."""
    halves = packed.view(torch.int16).view(-1, 2)
    index, values = halves[:, 0].long() & 0xFFFF, halves[:, 1].view(torch.float16).float()
    return torch.zeros(count, device=packed.device).index_add_(0, index, values)


class Sparse(nn.Module):
    """A net with d weights that are not zero; training removes the others step by step.

    Attributes:
        net: its parameters are zero but for d.
        packed: (d,), int32: what is stored.
    """

    packed: Tensor

    def __init__(self, net: nn.Module, dim: int) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("packed", torch.zeros(dim, dtype=torch.int32))
        self.is_training = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.is_training:
            self._unpack()
        result: Tensor = self.net(x)
        return result

    def merge(self) -> nn.Module:
        """The net with the stored weights."""
        self._unpack()
        return self.net

    def fit(self, images: Tensor, labels: Tensor, seed: int, **options: Any) -> None:
        """`fit`, while the number of weights falls from all to d along a cubic.

        Zhu and Gupta 2017 (arXiv 1710.01878), equation 1, from 25% to 65% of the steps; it removes
        the smallest weights of all layers together.
        """
        self.is_training = True
        theta = nn.utils.parameters_to_vector(self.net.parameters()).detach().clone()
        start = theta.clone()
        offset, dim = 0, len(self.packed)
        for parameter in self.net.parameters():  # views: one vector to mask
            parameter.data = theta[offset : offset + parameter.numel()].view_as(parameter)
            offset += parameter.numel()
        mask = torch.ones_like(theta)

        def prune(step: int, steps: int) -> None:
            part = min(max((step / steps - 0.25) / 0.4, 0.0), 1.0)
            kept = dim + round((len(theta) - dim) * (1 - part) ** 3)
            if kept < int(mask.sum()):
                mask.zero_()[(theta.abs()).topk(kept).indices] = 1
            theta.mul_(mask)

        fit(self, list(self.net.parameters()), images, labels, seed, before=prune, **options)
        theta.mul_(mask)
        self.packed.copy_(pack(theta, mask.nonzero()[:, 0]))
        theta.copy_(start)
        self.is_training = False

    def _unpack(self) -> None:
        count = sum(parameter.numel() for parameter in self.net.parameters())
        with torch.no_grad():
            nn.utils.vector_to_parameters(unpack(self.packed, count), self.net.parameters())


class Chosen(nn.Module):
    """A Subspace of at most 65,536 directions, of which training chooses d.

    A stored number has 32 bits: 16 say which direction, 16 are its float16 coordinate.

    Attributes:
        subspace: its ω is zero where no direction is chosen.
        packed: (d,), int32: what is stored.
    """

    packed: Tensor

    def __init__(self, subspace: Subspace, dim: int) -> None:
        super().__init__()
        self.subspace = subspace
        self.register_buffer("packed", torch.zeros(dim, dtype=torch.int32))
        self.free: Tensor | None = None  # bool, (n,), while training

    def forward(self, x: Tensor) -> Tensor:
        if self.free is None:
            self.unpack()
        result: Tensor = self.subspace(x)
        return result

    def merge(self) -> nn.Module:
        """The module at the stored coordinates."""
        self.unpack()
        return self.subspace.merge()

    def unpack(self) -> None:
        """Writes the stored coordinates to ω."""
        with torch.no_grad():
            self.subspace.omega.copy_(unpack(self.packed, len(self.subspace.omega)))

    def fit(
        self,
        images: Tensor,
        labels: Tensor,
        seed: int,
        *,
        peak: float,
        stages: int,
        choose_until: float,
        **options: Any,
    ) -> None:
        """Chooses d / `stages` directions at a time, while `fit` trains those that are chosen.

        A stage takes the directions along which the loss falls most steeply.

        Arguments:
            peak: of the rate, for a subspace of d directions with the recommended scaling. A column
                of P is as short as if all directions were trained: ω moves in longer steps.
            stages: at most; not more than d.
            choose_until: the share of the steps after which all are chosen.
        """
        omega, dim = self.subspace.omega, len(self.packed)
        stages, peak = min(stages, dim), peak * math.sqrt(len(omega) / dim)
        self.free = torch.zeros_like(omega, dtype=torch.bool)
        free = self.free
        random = torch.Generator().manual_seed(seed)
        due = [round(dim * (stage + 1) / stages) for stage in range(stages)]

        def choose(step: int, steps: int) -> None:
            while due and step >= choose_until * steps * (stages - len(due)) / stages:
                wanted = due.pop(0) - int(free.sum())
                steep = self._gradient(images, labels, random).abs().masked_fill(free, -1)
                free[steep.topk(wanted).indices] = True

        def mask() -> None:
            assert omega.grad is not None
            omega.grad.mul_(free)

        fit(
            self, [omega], images, labels, seed,
            peak=peak, before=choose, after_gradient=mask, **options,
        )  # fmt: skip
        self.packed.copy_(pack(omega, free.nonzero()[:, 0]))
        with torch.no_grad():
            omega.zero_()
        self.free = None

    def _gradient(self, images: Tensor, labels: Tensor, random: torch.Generator) -> Tensor:
        total = torch.zeros_like(self.subspace.omega)
        for _ in range(GRADIENT_BATCHES):
            chosen = torch.randint(len(images), (BATCH,), generator=random)
            loss = F.cross_entropy(self(images[chosen]), labels[chosen])
            total += torch.autograd.grad(loss, self.subspace.omega)[0]
        return total
