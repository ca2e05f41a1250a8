"""Signs and keyed permutations: the kernels against their reference, and how random they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import triton_programs
from numba import njit
from scipy import stats

from subspace_bench.common import rng
from subspace_bench.kernels.cpu import draws_simd
from subspace_bench.projectors import fastfood, permutations

KEY = rng.key(3, "any")
WORDS = np.array(KEY, np.uint64)


@njit
def gather(source, factors, target, keyed, bits):
    draws_simd.gather(source, factors, target, keyed, bits, draws_simd.scratch())


@njit
def scatter(source, factors, target, keyed, bits):
    draws_simd.scatter(source, factors, target, keyed, bits, draws_simd.scratch())


def permutations_of(bits: int, keys: int) -> torch.Tensor:
    index = torch.arange(1 << bits).expand(keys, -1)
    return permutations.permuted(index, permutations.rounds(KEY, torch.arange(keys)), bits)


def test_the_kernel_has_the_signs_of_the_reference() -> None:
    expected = permutations.signs(KEY, torch.tensor([5, 2**31]), 256, 1000)
    signs = np.empty(128, np.float32)
    for row, block in zip(expected, (5, 2**31), strict=True):
        for counter in range(2, 7):
            draws_simd.signs128(WORDS, counter, block, signs, 0)
            assert np.array_equal(signs, row[(counter - 2) * 128 :][:128])


@pytest.mark.parametrize("bits", [8, 9, 14, 16, 17])
def test_the_kernel_permutes_as_the_reference_and_back(bits) -> None:
    expected = permutations_of(bits, 3)[2].numpy()
    keyed = np.empty(12, np.uint32)
    draws_simd.rounds(WORDS, 2, keyed)
    source = np.arange(1 << bits, dtype=np.float32)
    moved, back = np.empty_like(source), np.empty_like(source)
    twos = np.full_like(source, 2)
    gather(source, twos, moved, keyed, bits)
    assert np.array_equal(moved, 2 * expected)
    scatter(moved, twos, back, keyed, bits)
    assert np.array_equal(back, 4 * source)


def test_the_kernel_has_the_diagonals_of_the_reference() -> None:
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


INTERPRETED = """
import torch
from subspace_bench.common import rng
from subspace_bench.kernels.triton import fastfood as fastfood_triton
from subspace_bench.projectors.fastfood import flip_, permute

key = rng.key(3, "any")
for rows, size, blocks in ((2, 256, range(3)), (1, 4096, range(1, 3)), (1, 1 << 13, range(7, 8))):
    x, g = torch.randn(rows, len(blocks), size), torch.randn(len(blocks), size)
    for scatter in (False, True):
        found = fastfood_triton.permute(x, g, key, blocks.start, scatter)
        assert torch.equal(found, permute(x, g, key, blocks, scatter))
    flipped = x.clone()
    fastfood_triton.flip_(flipped, key, blocks.start)
    assert torch.equal(flipped, flip_(x, key, blocks))
"""

COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from subspace_bench.kernels.triton.fastfood import _flip, _permute

plain = {"x": "*fp32", "k0": "i64", "k1": "i64", "first": "i32", "blocks": "i32"}
more = {"factors": "*fp32", "out": "*fp32"}
for kernel, kinds, values in (
    (_flip, plain, {"TILES": 4, "TILE": 1024}),
    (_permute, plain | more, {"BITS": 14, "TILE": 1024, "SCATTER": False}),
    (_permute, plain | more, {"BITS": 14, "TILE": 1024, "SCATTER": True}),
):
    kinds = kinds | dict.fromkeys(values, "constexpr")
    kinds = {name: kinds[name] for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=kinds, constexprs=values)
    assert triton.compile(source, target=GPUTarget("cuda", 80, 32)).asm["ptx"]
"""


@pytest.mark.parametrize("program, interpret", [(INTERPRETED, "1"), (COMPILED, "0")])
def test_the_triton_kernels_have_the_same_bits_and_compile(program, interpret, tmp_path) -> None:
    triton_programs.run(program, interpret, tmp_path)
