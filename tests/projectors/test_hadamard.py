"""The Walsh-Hadamard transform against its matrix, and all its ways against each other."""

from __future__ import annotations

import pytest
import torch
from scipy.linalg import hadamard
from vectors import normal

from subspace_bench.common.errors import UserError
from subspace_bench.projectors.hadamard import hadamard_, levels_


@pytest.mark.parametrize("levels", range(13))
@pytest.mark.parametrize("dtype, close", [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_it_is_the_product_with_the_matrix(levels, dtype, close) -> None:
    x = normal(2, 3, 1 << levels).to(dtype)
    exact = x.double() @ torch.from_numpy(hadamard(1 << levels)).double()
    result = hadamard_(x)
    assert result is x
    assert (x - exact).abs().max() <= close * exact.abs().max()


def test_twice_is_n_times_the_identity() -> None:
    x = normal(1 << 20)
    again = hadamard_(hadamard_(x.clone())) / (1 << 20)
    torch.testing.assert_close(again, x, rtol=0, atol=2e-6)


@pytest.mark.parametrize("rows, levels", [
    (5, 3), (3, 8), (2, 9), (7, 10), (1, 11), (1, 12), (3, 13), (1, 19), (3, 18), (1, 20),
])  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bits_depend_neither_on_threads_nor_on_the_way(rows, levels, dtype) -> None:
    x = normal(rows, 1 << levels).to(dtype)
    plain = levels_(x.clone())
    for threads in (1, 2, 3, 16):
        torch.set_num_threads(threads)
        assert torch.equal(hadamard_(x.clone()), plain)


def test_a_piece_of_a_larger_tensor_is_transformed_alone() -> None:
    x = normal(1000)
    before = x.clone()
    hadamard_(x[301 : 301 + 512])
    assert torch.equal(x[:301], before[:301])
    assert torch.equal(x[813:], before[813:])
    assert torch.equal(x[301:813], levels_(before[301:813].clone()))


@pytest.mark.parametrize("x", [
    torch.ones(12), torch.ones(()), torch.ones(3, 0), torch.ones(4, 4).T[:2], torch.ones(16)[::2],
])  # fmt: skip
def test_other_lengths_and_strides_are_refused(x) -> None:
    with pytest.raises(UserError):
        hadamard_(x)
