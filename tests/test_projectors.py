"""Every registered projector: linear, with an exact adjoint, the same from the same seed."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from subspace_bench.errors import UserError
from subspace_bench.projectors import PROJECTORS, make

SIZES = [(1, 1), (2, 1), (7, 7), (31, 5), (127, 64), (128, 100), (1031, 97)]
NAMES = sorted(PROJECTORS)


@pytest.mark.parametrize("native, dim", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_forward_and_transpose_are_the_matrix_and_its_adjoint(name, native, dim) -> None:
    projector = make(name, native, dim, seed=3).double()
    matrix = projector(torch.eye(dim, dtype=torch.float64)).T
    assert matrix.shape == (native, dim)
    omega, theta = torch.randn(2, 3, dim).double(), torch.randn(2, 3, native).double()
    torch.testing.assert_close(projector(omega), omega @ matrix.T)
    left = (projector(omega) * theta).sum(-1)
    right = (omega * projector.transpose(theta)).sum(-1)
    torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-10)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(NAMES), st.integers(5, 60), st.data(), st.integers(0, 2**31))
def test_seeds_fix_the_map(name, native, data, seed) -> None:
    dim = data.draw(st.integers(1, native))
    omega = torch.ones(dim)
    first, again = make(name, native, dim, seed)(omega), make(name, native, dim, seed)(omega)
    assert torch.equal(first, again)
    assert not torch.equal(first, make(name, native, dim, seed + 1)(omega))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_omega(name) -> None:
    projector = make(name, 23, 5, seed=0).double()
    omega = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(projector, (omega,))
    batch = torch.randn(4, 5).double()
    torch.testing.assert_close(torch.func.vmap(projector)(batch), projector(batch))


def test_gaussian_columns_have_unit_norm_in_expectation() -> None:
    columns = make("gaussian", 5000, 200, seed=1).columns
    assert columns.square().sum(1).mean().item() == pytest.approx(1, abs=0.01)
    assert columns.mean().item() == pytest.approx(0, abs=4 / np.sqrt(columns.numel() * 5000))


@pytest.mark.parametrize("native, dim", [(50, 50), (600, 590), (700, 5), (2000, 1100)])
def test_orthonormal_columns_are_orthonormal(native, dim) -> None:
    columns = make("orthonormal", native, dim, seed=2).columns.double()
    torch.testing.assert_close(
        columns @ columns.T, torch.eye(dim, dtype=torch.float64), rtol=0, atol=2e-6
    )


def test_orthonormal_is_the_q_of_numpys_qr_up_to_signs() -> None:
    first = torch.randn(800) * 0.005
    columns = make("orthonormal", 800, 530, seed=4, first=first).columns.numpy()
    gaussian = make("gaussian", 800, 530, seed=4).columns.numpy().astype(np.float64)
    matrix = np.vstack([first.numpy(), gaussian[1:]]).T
    q = np.linalg.qr(matrix)[0].T
    q *= np.sign((q * columns).sum(1))[:, None]
    np.testing.assert_allclose(columns, q, atol=2e-6)


def test_the_posts_first_column_lies_along_theta_init() -> None:
    first = torch.randn(300) * 0.005
    projector = make("orthonormal", 300, 40, seed=0, first=first)
    omega = torch.zeros(40)
    omega[0] = first[0] / projector.columns[0, 0]
    torch.testing.assert_close(projector(omega), first, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("dim", [0, -1, 11])
def test_impossible_dimensions_are_refused(dim) -> None:
    with pytest.raises(UserError, match="from 1 to 10 dimensions"):
        make("gaussian", 10, dim, seed=0)


def test_a_first_column_without_direction_is_refused() -> None:
    with pytest.raises(UserError, match="no direction"):
        make("orthonormal", 10, 2, seed=0, first=torch.zeros(10))


def test_unknown_names_and_idle_first_columns_are_refused() -> None:
    with pytest.raises(UserError, match="choose one of gaussian"):
        make("gausian", 10, 2, seed=0)
    with pytest.raises(UserError, match="no first column"):
        make("gaussian", 10, 2, seed=0, first=torch.ones(10))
