"""The Kronecker projector: rows and columns of a Kronecker product, at any size."""

from __future__ import annotations

import pytest
import torch
from vectors import matrix

from subspace_bench.projectors.kronecker import Kronecker, _factors


@pytest.mark.parametrize("native, dim", [(1, 1), (7, 7), (31, 5), (1024, 33), (1031, 97)])
def test_it_is_a_cut_kronecker_product(native, dim) -> None:
    projector = Kronecker(native, dim, 0)
    whole = torch.kron(projector.a.double(), projector.b.double())
    torch.testing.assert_close(matrix(projector), whole[:native, :dim])


@pytest.mark.parametrize("size", [1, 2, 3, 1000, 21_840, 199_210, 1 << 20, 10**9])
def test_factors_are_near_the_root_and_waste_less_than_one_of_them(size) -> None:
    large, small = _factors(size)
    assert large - 2 <= small <= large
    assert size <= large * small < size + large
