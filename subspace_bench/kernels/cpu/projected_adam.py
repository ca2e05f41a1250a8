"""Adam on ω, fused with both products of a dense P, which is read once per step and not twice.

γ = Pᵀg;  (m, v, ω) ← Adam(γ);  θ = origin + Pω.
ω_j depends on column j alone. So while the dot products of one block of columns are summed, the
block before, whose ω is known by then and which is still in cache, is added to θ.
Loops of plain numba take 0.9, 1.1 and 1.15 times as long (D = 21,840 and d = 100, 1,000 and 10,000,
one thread), with other bits.
"""

from functools import cache

import numpy as np
import torch
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

from .simd import LANES, ZERO, fma, index, jit, prefetch, splat, unpack
from .threads import in_threads

_BLOCK = 4  # columns at once: two blocks stay in a second-level cache of 1 MB up to D ≈ 40,000
_TILE = 4096  # terms of a dot product that are summed before they are added to its total
_AHEAD = 1024  # entries of a column between the one in use and the one prefetched


def step_eager(
    columns: Tensor, g: Tensor, omega: Tensor, m: Tensor, v: Tensor, origin: Tensor,
    theta_out: Tensor, *, lr: float, beta1: float, beta2: float, eps: float, t: int,
) -> None:  # fmt: skip
    """`step` in plain PyTorch, on any device and in any dtype: torch.optim.Adam's, two passes."""
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
    """One step of Adam on ω, in place, and θ = origin + Pω.

    Fused where all tensors are contiguous float32 on the CPU; else `step_eager`. Bits do not depend
    on the number of threads.

    Arguments:
        columns: (d, D); row j is column j of P.
        g: (D,), the gradient at θ.
        omega, m, v: (d,), updated in place; m and v start at zero.
        origin: (D,), θ₀.
        theta_out: (D,), overwritten.
        t: the number of this step, from 1.
    """
    arrays = (columns, g, omega, m, v, origin, theta_out)
    if not all(a.dtype == torch.float32 and a.is_cpu and a.is_contiguous() for a in arrays):
        step_eager(*arrays, lr=lr, beta1=beta1, beta2=beta2, eps=eps, t=t)
        return
    d, size = columns.shape
    # Each part sums its columns into a θ of its own. Their number depends on d alone, so the bits
    # do too; each has 64 columns or more, as adding up the parts costs D operations per part.
    parts = min(16, 1 << max(0, (d // 64).bit_length() - 1))
    partial = g.new_zeros(parts, size)
    rate = lr / (1 - beta1**t)
    rates = np.array([1 - beta1, beta2, 1 - beta2, (1 - beta2**t) ** 0.5, eps, rate], np.float32)
    *moved, start, theta, sums = (a.detach().view(-1).numpy() for a in (*arrays, partial))
    kernel = _kernel(_BLOCK if d >= _BLOCK else 1)
    in_threads(kernel, *moved, sums, rates, d, size, parts, parts=parts)
    _sum_parts(start, sums, theta, parts)


@cache
def _kernel(B: int):
    """Steps of B columns; the rest of D beyond a multiple of 16 goes in scalar loops."""

    @jit
    def kernel(P, g, omega, m, v, theta, rates, d, size, parts, first, last):
        new_m, beta2, new_v, root, eps, rate = rates
        sums = np.empty(B * LANES, np.float32)
        coefs = np.zeros(B, np.float32)
        whole = size // LANES * LANES
        for part in range(first, last):
            begin, end = part * d // parts, (part + 1) * d // parts
            t0 = part * size
            old = -1  # the block whose ω is known; none yet
            for start in range(begin, end + B, B):
                # The last block is filled up with columns that are done; their coefs are set to 0.
                new = min(start, end - B)
                sums[:] = 0
                i = 0
                while i < whole:
                    stop = min(i + _TILE, whole)
                    # In the last _AHEAD entries of a column, prefetch the next block's beginning.
                    ahead = _AHEAD
                    if i < whole - _AHEAD:
                        stop = min(stop, whole - _AHEAD)
                    else:
                        ahead += (B - 1) * size
                    dots, adds = new * size, old * size
                    if start >= end:
                        dot_and_add(P, 0, adds, size, g, sums, theta, t0, coefs, i, stop, 0, 0, B)
                    elif old < 0:
                        dot_and_add(
                            P, dots, 0, size, g, sums, theta, t0, coefs, i, stop, ahead, B, 0
                        )
                    else:
                        dot_and_add(
                            P, dots, adds, size, g, sums, theta, t0, coefs, i, stop, ahead, B, B
                        )
                    i = stop
                if old >= 0:
                    for i in range(whole, size):
                        for b in range(B):
                            theta[t0 + i] += coefs[b] * P[(old + b) * size + i]
                if start >= end:
                    break
                for b in range(B):
                    j = new + b
                    coefs[b] = 0
                    if j < start:
                        continue
                    gamma = np.float32(0)
                    for i in range(whole, size):
                        gamma += P[j * size + i] * g[i]
                    for lane in range(LANES):
                        gamma += sums[b * LANES + lane]
                    m[j] += new_m * (gamma - m[j])
                    v[j] = v[j] * beta2 + new_v * gamma * gamma
                    omega[j] -= rate * m[j] / (np.sqrt(v[j]) / root + eps)
                    coefs[b] = omega[j]
                old = new

    return kernel


@jit
def _sum_parts(origin, partial, theta, parts):
    size = len(theta)
    for i in range(size):
        total = origin[i]
        for part in range(parts):
            total += partial[part * size + i]
        theta[i] = total


@intrinsic(prefer_literal=True)
def dot_and_add(
    typing, P, new, old, stride, g, sums, theta, t0, coefs, first, last, ahead, NEW, OLD
):
    """Two blocks of columns in one loop over i = first … last − 1; last − first is 16·k.

    sums[16·b + lane] += Σ_i P[new + b·stride + i] · g[i], b < NEW, a lane for each i mod 16;
    theta[t0 + i] += Σ_b coefs[b] · P[old + b·stride + i], b < OLD.
    """

    def codegen(context, builder, signature, args):
        P, new, old, stride, g, sums, theta, t0, coefs, first, last, ahead, NEW, OLD = unpack(
            context, builder, signature, args, 2
        )
        totals = [cgutils.alloca_once_value(builder, ZERO) for _ in range(NEW)]
        factors = [splat(builder, coefs.scalar(b)) for b in range(OLD)]
        with cgutils.for_range_slice(builder, first, last, index(LANES), inc=True) as (i, _):
            if NEW:
                slope = g.load(i)
                for b, total in enumerate(totals):
                    at = builder.add(builder.add(new, i), builder.mul(index(b), stride))
                    prefetch(builder, P.at(at, ahead))
                    builder.store(fma(builder, P.load(at), slope, builder.load(total)), total)
            if OLD:
                change = ZERO
                for b, factor in enumerate(factors):
                    entries = P.load(builder.add(old, i), builder.mul(index(b), stride))
                    change = fma(builder, entries, factor, change)
                at = builder.add(t0, i)
                theta.store(builder.fadd(theta.load(at), change), at)
        for b, total in enumerate(totals):
            at = b * LANES
            sums.store(builder.fadd(sums.load(at), builder.load(total)), at)
        return context.get_dummy_value()

    signature = types.void(
        P, new, old, stride, g, sums, theta, t0, coefs, first, last, ahead, NEW, OLD
    )
    return signature, codegen
