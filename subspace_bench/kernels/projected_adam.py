"""Adam in a subspace, one pass over a dense P per step.

γ = Pᵀg,  Adam turns (ω, m, v, γ) into the next ω,  θ = origin + Pω: all for a block of columns while it is in the cache.
"""

from functools import cache

import numpy as np
import torch
from numba import njit
from torch import Tensor

from ._threads import in_threads
from .simd import FINGERPRINT, LANES, dot_and_add

_JIT = {"cache": True, "nogil": True, "error_model": "numpy"}
_TILE = 4096  # terms of a dot product that are summed before they join its total


def reference(
    columns: Tensor, g: Tensor, omega: Tensor, m: Tensor, v: Tensor, origin: Tensor,
    theta_out: Tensor, *, lr: float, beta1: float, beta2: float, eps: float, t: int,
) -> None:  # fmt: skip
    """The same in plain PyTorch, on any device and dtype: two passes, with torch.optim.Adam's formula between."""
    gamma = torch.mv(columns, g)
    m.lerp_(gamma, 1 - beta1)
    v.mul_(beta2).addcmul_(gamma, gamma, value=1 - beta2)
    denominator = (v.sqrt() / (1 - beta2**t) ** 0.5).add_(eps)
    omega.addcdiv_(m, denominator, value=-lr / (1 - beta1**t))
    torch.addmv(origin, columns.T, omega, out=theta_out)


def step(
    columns: Tensor, g: Tensor, omega: Tensor, m: Tensor, v: Tensor, origin: Tensor,
    theta_out: Tensor, *, lr: float, beta1: float, beta2: float, eps: float, t: int,
) -> None:  # fmt: skip
    """One step of Adam on ω, in place: `reference`, in one pass where everything is float32 on the CPU.

    **Arguments:** `columns` (d, D): row j is column j of P, contiguous; `g` (D,): the gradient at θ; `omega`, `m`,
    `v` (d,): updated in place; `origin` (D,); `theta_out` (D,): the next θ; `t`: number of this step, from 1.

    Results do not depend on the number of threads.
    """
    arrays = (columns, g, omega, m, v, origin, theta_out)
    if any(a.dtype != torch.float32 or a.device.type != "cpu" for a in arrays) or not all(
        a.is_contiguous() for a in arrays
    ):
        reference(*arrays, lr=lr, beta1=beta1, beta2=beta2, eps=eps, t=t)
        return
    d, size = columns.shape
    block = next(b for b in _blocks(size) if b <= d)
    parts = min(16, 1 << max(0, (d // 64).bit_length() - 1))
    partial = torch.zeros(parts, size)
    rates = np.float32([1 - beta1, beta2, 1 - beta2, (1 - beta2**t) ** 0.5, eps, lr / (1 - beta1**t)])
    columns, g, omega, m, v, origin, theta_out, partial = (
        a.detach().view(-1).numpy() for a in (*arrays, partial)
    )
    in_threads(_kernel(block), columns, g, omega, m, v, partial, rates, d, size, parts, parts=parts)
    _sum(origin, partial, theta_out, parts)


def _blocks(size):
    return (BLOCK, 4, 2, 1)

BLOCK = 4
AHEAD = 0

@cache
def _kernel(B: int):
    fingerprint = FINGERPRINT
    AH = AHEAD

    @njit(**_JIT)
    def kernel(columns, g, omega, m, v, theta, rates, d, size, parts, first, last):
        fingerprint  # in the closure, so that numba's cache sees a change of simd.py
        one_beta1, beta2, one_beta2, root, eps, rate = rates
        sums = np.empty(B * LANES, np.float32)
        coefs = np.zeros(B, np.float32)
        whole = size // LANES * LANES
        for part in range(first, last):
            begin, end = part * d // parts, (part + 1) * d // parts
            t0 = part * size
            old = -1
            for start in range(begin, end + B, B):
                # The last block is filled up with columns that are done, whose share is then zero.
                new = min(start, end - B)
                done = start - new
                sums[:] = 0
                i = 0
                while i < whole:
                    stop = min(i + _TILE, whole)
                    ahead = AH
                    if i >= whole - AH:
                        ahead += (B - 1) * size
                    else:
                        stop = min(stop, whole - AH)
                    if start >= end:
                        dot_and_add(columns, 0, old * size, size, g, sums, theta, t0, coefs, i, stop, 0, 0, B)
                    elif old < 0:
                        dot_and_add(columns, new * size, 0, size, g, sums, theta, t0, coefs, i, stop, ahead, B, 0)
                    else:
                        dot_and_add(
                            columns, new * size, old * size, size, g, sums, theta, t0, coefs, i, stop, ahead, B, B
                        )  # fmt: skip
                    i = stop
                for i in range(whole, size):
                    for b in range(B):
                        if old >= 0:
                            theta[t0 + i] += coefs[b] * columns[(old + b) * size + i]
                if start >= end:
                    break
                for b in range(B):
                    j = new + b
                    coefs[b] = 0
                    if b < done:
                        continue
                    gamma = np.float32(0)
                    for i in range(whole, size):
                        gamma += columns[j * size + i] * g[i]
                    for lane in range(LANES):
                        gamma += sums[b * LANES + lane]
                    m[j] += one_beta1 * (gamma - m[j])
                    v[j] = v[j] * beta2 + one_beta2 * gamma * gamma
                    omega[j] -= rate * m[j] / (np.sqrt(v[j]) / root + eps)
                    coefs[b] = omega[j]
                old = new

    return kernel


@njit(**_JIT)
def _sum(origin, partial, theta, parts):
    size = len(theta)
    for i in range(size):
        theta[i] = origin[i]
    for part in range(parts):
        for i in range(size):
            theta[i] += partial[part * size + i]
