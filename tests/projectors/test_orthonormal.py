"""The post's projector: QR with θ_init as first column."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from subspace_bench.common.errors import UserError
from subspace_bench.projectors import make, orthonormal
from subspace_bench.projectors.gaussian import normal_columns
from subspace_bench.projectors.orthonormal import STREAM


def test_it_is_the_q_of_numpys_qr_up_to_signs() -> None:
    first = torch.randn(800) * 0.005
    columns = make("orthonormal", 800, 530, seed=4, first=first).columns.numpy()
    gaussian = normal_columns(800, 530, 4, STREAM).numpy().astype(np.float64)
    q = np.linalg.qr(np.vstack([first.numpy(), gaussian[1:]]).T)[0].T
    q *= np.sign((q * columns).sum(1))[:, None]
    np.testing.assert_allclose(columns, q, atol=2e-6)


def test_the_posts_first_column_lies_along_theta_init() -> None:
    first = torch.randn(300) * 0.005
    projector = make("orthonormal", 300, 40, seed=0, first=first)
    omega = torch.zeros(40)
    omega[0] = first[0] / projector.columns[0, 0]
    torch.testing.assert_close(projector(omega), first, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("first", [
    torch.zeros(10), torch.ones(9), torch.ones(10, 1), torch.ones(10, dtype=torch.int64),
    torch.full((10,), torch.nan), torch.full((10,), torch.inf),
])  # fmt: skip
def test_a_first_column_without_direction_is_refused(first) -> None:
    with pytest.raises(UserError):
        make("orthonormal", 10, 2, seed=0, first=first)


# One block and several, the last one narrow, and d so near to D that each is passed over twice.
@pytest.mark.parametrize("native, dim", [(9001, 518), (3000, 518), (1500, 1300)])
def test_bits_do_not_depend_on_threads(native, dim) -> None:
    one = make("orthonormal", native, dim, seed=1).columns
    for threads in (2, 4):
        torch.set_num_threads(threads)
        assert torch.equal(make("orthonormal", native, dim, seed=1).columns, one)
        assert torch.get_num_threads() == threads


def test_bits_of_a_long_first_column_do_not_depend_on_threads() -> None:
    first = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    one = make("orthonormal", 200_000, 5, seed=1, first=first).columns
    torch.set_num_threads(4)
    assert torch.equal(make("orthonormal", 200_000, 5, seed=1, first=first).columns, one)


def test_it_can_be_made_under_autocast_and_in_inference() -> None:
    plain = make("orthonormal", 2000, 700, seed=1).columns
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        torch.set_num_threads(2)
        assert torch.equal(make("orthonormal", 2000, 700, seed=1).columns, plain)


@pytest.mark.parametrize("dim", [5, 700])
def test_columns_are_the_same_by_the_steps_for_a_gpu(dim) -> None:
    columns = torch.randn(dim, 800, generator=torch.Generator().manual_seed(0))
    passes = 1 if dim < 0.67 * 800 else 2
    there = orthonormal._on_device_(columns.clone(), passes)
    torch.testing.assert_close(there, orthonormal.orthonormalise_(columns), rtol=0, atol=2e-5)
    torch.testing.assert_close(there @ there.T, torch.eye(dim), rtol=0, atol=2e-6)
