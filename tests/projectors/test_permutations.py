"""Signs and keyed permutations: the kernels against plain PyTorch, and how random they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from subspace_bench.common import rng
from subspace_bench.kernels.cpu import permutations as kernels
from subspace_bench.projectors import fastfood, permutations

KEY = rng.key(3, "any")
WORDS = np.array(KEY, np.uint64)


def permutations_of(bits: int, keys: int) -> torch.Tensor:
    index = torch.arange(1 << bits).expand(keys, -1)
    return permutations.permute_index(
        index, permutations.permutation_keys(KEY, torch.arange(keys)), bits
    )


def test_the_kernel_has_the_signs_of_plain_torch() -> None:
    expected = permutations.signs(KEY, torch.tensor([5, 2**31]), 256, 1000)
    signs = np.empty(128, np.float32)
    for row, block in zip(expected, (5, 2**31), strict=True):
        for counter in range(2, 7):
            kernels.signs128(WORDS, counter, block, signs, 0)
            assert np.array_equal(signs, row[(counter - 2) * 128 :][:128])


@pytest.mark.parametrize("bits", [8, 9, 14, 16, 17])
def test_the_kernel_permutes_as_plain_torch_and_back(bits) -> None:
    expected = permutations_of(bits, 3)[2].numpy()
    keyed = np.empty(12, np.uint32)
    kernels.permutation_keys(WORDS, 2, keyed)
    source = np.arange(1 << bits, dtype=np.float32)
    moved, back = np.empty_like(source), np.empty_like(source)
    twos = np.full_like(source, 2)
    places = np.empty(kernels.TILE, kernels.index_type(bits).dtype)
    kernels.gather(source, twos, moved, keyed, bits, places)
    assert np.array_equal(moved, 2 * expected)
    kernels.scatter(moved, twos, back, keyed, bits, places)
    assert np.array_equal(back, 4 * source)


def test_the_kernel_has_the_diagonals_of_plain_torch() -> None:
    from subspace_bench.kernels.cpu.fastfood import diagonals

    starts = np.array([0, 1024, 2048, 2500])
    g, s = torch.empty(3 * 1024), torch.empty(2500)
    diagonals(KEY, starts, 10, g, s)
    exact_g, exact_s = fastfood.diagonals(KEY, torch.arange(3), 1024, 2500)
    ulp = torch.finfo(torch.float32).eps
    torch.testing.assert_close(g, exact_g.flatten(), rtol=2 * ulp, atol=0)
    torch.testing.assert_close(s, exact_s.flatten()[:2500], rtol=2 * ulp, atol=0)


def test_signs_are_fair_and_independent() -> None:
    signs = permutations.signs(KEY, torch.arange(256), 0, 1000).double()
    assert abs(signs.mean()) < 4 / signs.numel() ** 0.5
    correlation = (signs @ signs.T / 1000).fill_diagonal_(0)
    assert correlation.abs().max() < 5.5 / 1000**0.5
    neighbours = (signs[:, 1:] * signs[:, :-1]).mean(0)
    assert neighbours.abs().max() < 5.5 / 256**0.5


@pytest.mark.parametrize("bits", range(1, 12))
def test_permutations_are_permutations(bits) -> None:
    found = permutations_of(bits, 50)
    assert torch.equal(found.sort(1).values, torch.arange(1 << bits).expand(50, -1))


def test_permutations_are_as_random_ones() -> None:
    """Where one number goes, where two go beside each other, and how many stay: over keys."""
    keys, size = 40_000, 256
    found = permutations_of(8, keys)
    numbers = [0, 1, 2, 5, 64, 128, 133, 255]
    for i in numbers:
        assert stats.chisquare(found[:, i].bincount(minlength=size)).pvalue > 1e-4
    for i, j in [(0, 1), (2, 5), (0, 128), (1, 65), (5, 133), (1, 255)]:
        for apart in ((found[:, i] - found[:, j]) % size, found[:, i] ^ found[:, j]):
            assert stats.chisquare(apart.bincount(minlength=size)[1:]).pvalue > 1e-4
    fixed = (found == torch.arange(size)).sum(1).double()
    assert abs(fixed.mean() - 1) < 5 / keys**0.5  # Poisson with mean 1
    assert abs(fixed.var() - 1) < 5 * (3 / keys) ** 0.5
