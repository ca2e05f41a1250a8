"""Adam on ω that reads a stored P once a step: which P it is for, and the step on each device.

On the CPU: kernels/cpu/projected_adam. On CUDA: kernels/triton/projected_adam, where a column fits
into a multiprocessor's registers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from subspace_bench.kernels.cpu import projected_adam
from subspace_bench.kernels.triton import availability
from subspace_bench.records.config import TrainingConfig


def fits(columns: Tensor) -> bool:
    """Whether a kernel reads such columns (…, d, D) once."""
    if columns.dtype != torch.float32:
        return False
    if columns.is_cuda and availability.works():
        from subspace_bench.kernels.triton.projected_adam import MOST_ROWS

        return columns.shape[-1] <= MOST_ROWS
    return columns.device.type == "cpu"


def make_step(columns: Tensor) -> Callable[..., None]:
    """The step for these columns; its arguments are those of `projected_adam.step`."""
    return CudaStep(columns.device) if columns.is_cuda else projected_adam.step


class CudaStep:
    """`projected_adam.step` by the kernel for CUDA."""

    def __init__(self, device: torch.device | str) -> None:
        self.rates = torch.empty(2, device=device)

    def __call__(
        self, columns: Tensor, g: Tensor, omega: Tensor, m: Tensor, v: Tensor, origin: Tensor,
        theta_out: Tensor, *, lr: float, beta1: float, beta2: float, eps: float, t: int,
    ) -> None:  # fmt: skip
        from subspace_bench.kernels.triton.projected_adam import step

        fill(self.rates, lr, (beta1, beta2), t)
        change = step(
            columns[None], g[None], omega[None], m[None], v[None], self.rates,
            beta1=beta1, beta2=beta2, eps=eps,
        )  # fmt: skip
        torch.add(origin, change[0], out=theta_out)


class BatchedStep:
    """The step of N runs, each with a P of its own; a CUDA graph can record it.

    Arguments:
        columns: (N, d, D).
        omega: (N, d), updated in place.
        origin: (N, D), θ₀.
        theta: (N, D), overwritten.
    """

    def __init__(
        self,
        columns: Tensor,
        omega: Tensor,
        origin: Tensor,
        theta: Tensor,
        protocol: TrainingConfig,
    ) -> None:
        self.columns, self.omega, self.origin, self.theta = columns, omega, origin, theta
        self.m, self.v = torch.zeros_like(omega), torch.zeros_like(omega)
        self.betas, self.eps = protocol.betas, protocol.eps
        self.lr, self.t, self.rates = 0.0, 0, theta.new_empty(2)
        self.by_triton = columns.is_cuda

    def set_step(self, lr: float, t: int) -> None:
        """Learning rate and number, from 1, of the next step; not part of what a graph records."""
        self.lr, self.t = lr, t
        if self.by_triton:
            fill(self.rates, lr, self.betas, t)

    def __call__(self, gradient: Tensor) -> None:
        gradient, (beta1, beta2) = gradient.contiguous(), self.betas
        if self.by_triton:
            from subspace_bench.kernels.triton.projected_adam import step

            change = step(
                self.columns, gradient, self.omega, self.m, self.v, self.rates,
                beta1=beta1, beta2=beta2, eps=self.eps,
            )  # fmt: skip
            torch.add(self.origin, change, out=self.theta)
            return
        for i, columns in enumerate(self.columns):
            projected_adam.step(
                columns, gradient[i], self.omega[i], self.m[i], self.v[i], self.origin[i],
                self.theta[i], lr=self.lr, beta1=beta1, beta2=beta2, eps=self.eps, t=self.t,
            )  # fmt: skip


def fill(rates: Tensor, lr: float, betas: tuple[float, float], t: int) -> None:
    """Writes α/(1 − β₁ᵗ) and √(1 − β₂ᵗ), by launches: copying from the host would wait."""
    rates[0].fill_(lr / (1 - betas[0] ** t))
    rates[1].fill_((1 - betas[1] ** t) ** 0.5)
