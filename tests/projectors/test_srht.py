"""SRHT against its matrix at powers of two; at other lengths whether every row gets its share."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from scipy.linalg import hadamard
from vectors import matrix, normal

from subspace_bench.common import rng
from subspace_bench.projectors import permutations
from subspace_bench.projectors.srht import SRHT, distinct_positions


def test_at_a_power_of_two_it_is_signs_times_columns_of_hadamard() -> None:
    projector = SRHT(1024, 60, seed=3)
    signs = permutations.signs(projector._key, torch.tensor([0]), 0, 1024)[0].double()
    h = torch.from_numpy(hadamard(1024)).double()
    expected = signs[:, None] * h[:, projector.positions.long()] / 32
    torch.testing.assert_close(matrix(projector), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("native", [257, 1025, 1300, 1536, 2047])
def test_rows_get_equal_shares(native) -> None:
    """Over seeds a row's energy has mean d/D; in one P it varies no more than Gaussian rows'."""
    dim, seeds, size = native // 20, 64, 1 << (native.bit_length() - 1)
    shares = torch.stack([
        matrix(SRHT(native, dim, seed)).square().sum(1) * native / dim for seed in range(seeds)
    ])  # fmt: skip
    deviation = (shares.mean(0) - 1) / (shares.std(0) / seeds**0.5).clamp(min=1e-6)
    assert deviation.std() < 1.3
    p = native - size
    for region in (slice(0, p), slice(p, size), slice(size, native)):
        share = shares[:, region].mean(1)
        assert abs(share.mean() - 1) < 5 * share.std() / seeds**0.5 + 1e-9
    assert shares.std(1).mean() < 1.2 * (2 / dim) ** 0.5


@pytest.mark.parametrize("native, dim", [(1, 1), (200, 30), (1000, 1000), (199_210, 64)])
def test_columns_are_orthonormal_at_any_length(native, dim) -> None:
    projector = SRHT(native, dim, seed=6)
    p = matrix(projector)
    torch.testing.assert_close(p.T @ p, torch.eye(dim, dtype=torch.float64), rtol=0, atol=1e-13)
    omega = normal(2, dim)
    torch.testing.assert_close(projector.transpose(projector(omega)), omega, rtol=0, atol=1e-5)


@pytest.mark.parametrize("native", [1, 2, 3, 100, 128, 129])
def test_columns_are_distinct_and_any(native) -> None:
    for dim in (1, -(-native // 3), native):
        counted = 1 < native < 128 and dim < native
        sets = torch.stack([
            distinct_positions(rng.key(seed, "any"), native, dim)
            for seed in range(400 if counted else 40)
        ])  # fmt: skip
        assert 0 <= sets.min() <= sets.max() < native
        assert (sets.sort(1).values.diff(dim=1) > 0).all()
        if counted:
            assert stats.chisquare(sets.flatten().bincount(minlength=native)).pvalue > 1e-4
