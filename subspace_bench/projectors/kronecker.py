"""Kronecker: P is a part of A ⊗ B, with two small Gaussian matrices instead of a large one.

Pω = vec(A Ω Bᵀ), cut to D entries: one matrix product per factor. A is (D₁, d₁), B is (D₂, d₂),
with D₁ ≈ D₂ ≈ √D, D₁·D₂ ≥ D, and likewise for d (Lotfi et al. 2022, arXiv 2211.13609, who round D
and d to squares and pad the vectors).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from subspace_bench.common.large_pages import empty_in_large_pages
from subspace_bench.common.rng import generator
from subspace_bench.projectors.base import Footprint, Projector


class Kronecker(Projector):
    """About 2D·√d operations and 2√(D·d) stored numbers; column norms 1 in expectation.

    Columns that share a column of A or B are more similar than columns of a Gaussian P.
    Equivalent in NumPy: `np.kron(A, B)[:D, :d] @ omega`.
    """

    a: Tensor
    b: Tensor

    def __init__(self, native: int, dim: int, seed: int) -> None:
        super().__init__(native, dim, seed)
        (d1, d2), (n1, n2) = _factors(dim), _factors(native)
        scale = native**-0.25
        for index, (name, shape) in enumerate({"a": (n1, d1), "b": (n2, d2)}.items()):
            entries = generator(seed, "projector kronecker", index).standard_normal(
                shape, dtype=np.float32
            )
            self.register_buffer(name, torch.from_numpy(entries).mul_(scale), persistent=False)

    @classmethod
    def footprint(cls, native: int, dim: int, itemsize: int = 4) -> Footprint:
        (d1, d2), (n1, n2) = _factors(dim), _factors(native)
        factors = 4 * (n1 * d1 + n2 * d2)
        products = itemsize * (n1 * n2 + n1 * d2 + d1 * d2)
        return Footprint(factors, products + (2 * factors if itemsize == 8 else 0))

    def _project(self, omega: Tensor) -> Tensor:
        a, b = self.a.to(omega.dtype), self.b.to(omega.dtype)
        d1, d2 = a.shape[1], b.shape[1]
        small = pad(omega, (0, d1 * d2 - self.dim)).view(-1, d1, d2)
        large = empty_in_large_pages(omega, len(small), len(a), len(b))
        torch.matmul(a @ small, b.T, out=large)
        return large.flatten(1)[:, : self.native].contiguous()

    def _adjoint(self, theta: Tensor) -> Tensor:
        a, b = self.a.to(theta.dtype), self.b.to(theta.dtype)
        n1, n2 = len(a), len(b)
        large = empty_in_large_pages(theta, len(theta), n1 * n2)
        large[:, : self.native] = theta
        large[:, self.native :] = 0
        return (a.T @ (large.view(-1, n1, n2) @ b)).flatten(1)[:, : self.dim].contiguous()


def _factors(size: int) -> tuple[int, int]:
    """(a, b) with a = ⌈√size⌉ and b = ⌈size/a⌉, so that ab ≥ size."""
    large = math.isqrt(size - 1) + 1
    return large, -(-size // large)
