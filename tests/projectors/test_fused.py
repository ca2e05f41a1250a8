"""θ₀ + Pω in one pass, and Pᵀ of a gradient in pieces: the bits of the separate operations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from subspace_bench import projectors
from subspace_bench.common.errors import UserError

# One block and many, of `hashed` and of Fastfood; indices of 16 and of 32 bits; cut blocks.
SIZES = [(1, 1), (300, 300), (10_000, 40), (5000, 4096), (150_001, 40_000)]
FUSED = ["hashed", "fastfood", "fastfood-layers"]


def normal(size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def in_pieces(theta: Tensor) -> list[Tensor]:
    """Pieces of many sizes: of one element, none, and more than a kernel reads at a time."""
    sizes, left = [], len(theta)
    for size in (1, 0, 7, 255, 2048, 3000, len(theta)):
        sizes.append(min(size, left))
        left -= sizes[-1]
    return [piece.clone() for piece in theta.split(sizes)]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("native, dim", SIZES)
@pytest.mark.parametrize("name", FUSED)
def test_fused_kernels_have_the_bits_of_separate_ones(name, native, dim, threads) -> None:
    torch.set_num_threads(threads)
    projector = projectors.make(name, native, dim, 3)
    omega, origin, gradient = normal(dim), normal(native, 1), normal(native, 2)
    assert projector._has_fused_kernels(omega)
    theta = torch.full((native,), torch.nan)
    projector.displace(origin, omega, theta)
    assert torch.equal(theta, projector(omega) + origin)
    assert torch.equal(
        projector.transpose_pieces(in_pieces(gradient)), projector.transpose(gradient)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", projectors.names())
def test_every_projector_has_both(name, dtype) -> None:
    projector = projectors.make(name, 600, 20, 3)
    omega, origin, gradient = (normal(n, n).to(dtype) for n in (20, 600, 600))
    theta = torch.empty_like(origin)
    projector.displace(origin, omega, theta)
    torch.testing.assert_close(theta, projector(omega) + origin)
    pieces = [*in_pieces(gradient[:400]), gradient[400:].view(10, 20).T.contiguous().T]
    torch.testing.assert_close(projector.transpose_pieces(pieces), projector.transpose(gradient))


@pytest.mark.parametrize("name", ["hashed", "fastfood", "sparse"])
def test_wrong_vectors_are_refused(name) -> None:
    projector = projectors.make(name, 600, 20, 3)
    with pytest.raises(UserError):
        projector.displace(normal(600), torch.full((20,), torch.nan), normal(600))
    with pytest.raises(UserError):
        projector.displace(normal(600), normal(21), normal(600))
    with pytest.raises(UserError):
        projector.transpose_pieces([normal(300), normal(299)])
