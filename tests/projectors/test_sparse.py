"""Sparse projectors: entries as often as they should be, and kernels that have PyTorch's matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from subspace_bench.projectors import make
from subspace_bench.projectors.sparse import bernoulli_positions

DOUBLE = torch.float64


def matrix(name: str, native: int, dim: int, seed: int) -> torch.Tensor:
    """P (d, D), from the plain PyTorch way."""
    return make(name, native, dim, seed)(torch.eye(dim, dtype=DOUBLE))


@pytest.mark.parametrize("name", ["sparse", "sparse-signs"])
@pytest.mark.parametrize("native, dim", [(1, 1), (17, 3), (4096, 9), (9001, 40)])
def test_kernels_have_the_matrix_of_pytorch(name, native, dim) -> None:
    projector = make(name, native, dim, seed=4)
    draw = torch.Generator().manual_seed(0)
    omega, theta = (torch.randn(2, size, generator=draw) for size in (dim, native))
    torch.testing.assert_close(projector(omega), projector(omega.double()).float())
    exact = projector.transpose(theta.double()).float()
    torch.testing.assert_close(projector.transpose(theta), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["sparse", "sparse-signs"])
def test_bits_do_not_depend_on_threads(name) -> None:
    projector = make(name, 30_001, 50, seed=0)
    omega, theta = torch.randn(50), torch.randn(30_001)
    before = projector(omega), projector.transpose(theta)
    torch.set_num_threads(3)
    assert torch.equal(projector(omega), before[0])
    assert torch.equal(projector.transpose(theta), before[1])


@pytest.mark.parametrize("name, chance", [("sparse", 10_000**-0.5), ("sparse-signs", 1 / 3)])
def test_entries_are_as_frequent_as_they_should_be_and_signs_even(name, chance) -> None:
    p = matrix(name, 10_000, 60, seed=1)
    there = p != 0
    assert stats.binomtest(int(there.sum()), p.numel(), chance).pvalue > 1e-4
    assert stats.binomtest(int((p > 0).sum()), int(there.sum()), 0.5).pvalue > 1e-4
    torch.testing.assert_close(p[there].abs().unique(), torch.tensor([(10_000 * chance) ** -0.5],
                               dtype=DOUBLE))  # fmt: skip


def test_gaps_between_entries_are_geometric() -> None:
    places, signs = bernoulli_positions(400_000, 0.02, seed=2, block=0)
    assert (np.diff(places) > 0).all()
    assert places[0] >= 0
    assert places[-1] < 400_000
    lengths = np.bincount(np.minimum(np.diff(places), 200), minlength=201)[1:]
    chances = 0.02 * 0.98 ** np.arange(200)
    chances[-1] = 0.98**199
    assert stats.chisquare(lengths, lengths.sum() * chances).pvalue > 1e-4
    assert set(signs) == {0, 1}
