"""The contract of projectors, held by every registered one: linear, with an exact adjoint,
differentiable, the same from the same seed, and as it says of its columns and its bytes.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from subspace_bench.errors import UserError
from subspace_bench.projectors import load, make, names
from subspace_bench.projectors.base import Projector

NAMES = names()
# D = 1, d = 1, d = D, primes, powers of two and their neighbours.
SIZES = [
    (1, 1), (2, 1), (2, 2), (7, 7), (31, 5), (64, 64), (127, 64), (128, 100), (129, 128),
    (1031, 97), (1024, 33), (1025, 1), (4097, 65),
]  # fmt: skip
DOUBLE = torch.float64


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def matrix(projector: Projector, dtype: torch.dtype = DOUBLE) -> torch.Tensor:
    """P (D, d), column by column."""
    return projector(torch.eye(projector.dim, dtype=dtype)).T


@pytest.mark.parametrize("native, dim", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_forward_and_transpose_are_a_matrix_and_its_adjoint(name, native, dim) -> None:
    projector = make(name, native, dim, seed=3)
    p = matrix(projector)
    omega, theta = normal(2, 3, dim), normal(2, 3, native, seed=1)
    torch.testing.assert_close(projector(omega), omega @ p.T, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(projector.transpose(theta), theta @ p, rtol=1e-11, atol=1e-11)
    left = (projector(omega) * theta).sum(-1)
    right = (omega * projector.transpose(theta)).sum(-1)
    torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-10)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(NAMES), st.integers(1, 300), st.data(), st.integers(0, 2**31))
def test_linear_in_omega_with_an_exact_adjoint(name, native, data, seed) -> None:
    dim = data.draw(st.integers(1, native))
    projector = make(name, native, dim, seed)
    a, b = normal(2, dim, seed=seed)
    s, t = normal(2, seed=seed + 1)
    theta = normal(native, seed=seed + 2)
    both = projector(s * a + t * b)
    torch.testing.assert_close(both, s * projector(a) + t * projector(b), rtol=1e-10, atol=1e-10)
    left, right = projector(a) @ theta, a @ projector.transpose(theta)
    torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("native, dim", [(31, 5), (1025, 64), (5000, 300)])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype, close", [
    (torch.float32, 2e-5), (torch.bfloat16, 4e-2), (torch.float16, 5e-3),
])  # fmt: skip
def test_every_dtype_gives_the_same_map_to_its_rounding(name, native, dim, dtype, close) -> None:
    projector = make(name, native, dim, seed=1)
    omega, theta = normal(2, dim).to(dtype), normal(2, native, seed=1).to(dtype)
    for given_, act in ((omega, projector.forward), (theta, projector.transpose)):
        result, exact = act(given_), act(given_.double())
        assert result.dtype == dtype
        torch.testing.assert_close(
            result.double(), exact, rtol=0, atol=close * exact.abs().max().item()
        )


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(NAMES), st.integers(8, 60), st.data(), st.integers(0, 2**31))
def test_seeds_fix_the_map(name, native, data, seed) -> None:
    dim = data.draw(st.integers(1, native))
    first, again = (matrix(make(name, native, dim, seed)) for _ in range(2))
    assert torch.equal(first, again)
    torch.manual_seed(7)  # the map is independent of the global generator
    assert torch.equal(first, matrix(make(name, native, dim, seed)))


@pytest.mark.parametrize("name", NAMES)
def test_streams_of_different_seeds_are_uncorrelated(name) -> None:
    a, b = (matrix(make(name, 4096, 64, seed)) for seed in (5, 6))
    assert not torch.equal(a, b)
    cosine = (a * b).sum() / (a.norm() * b.norm())
    # A structured P has about one independent number a row, so rows count, not entries.
    kurtosis = float((a**4).mean() / (a**2).mean() ** 2)  # few large entries count as fewer
    assert abs(cosine) < 5 * (max(1.0, kurtosis) / len(a)) ** 0.5


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_bits_do_not_depend_on_threads(name, threads) -> None:
    omega, theta = normal(500).float(), normal(30_000, seed=1).float()
    projector = make(name, 30_000, 500, seed=2)
    torch.set_num_threads(threads)
    again = make(name, 30_000, 500, seed=2)
    forward, back = again(omega), again.transpose(theta)
    torch.set_num_threads(1)
    torch.testing.assert_close(forward, projector(omega), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(back, projector.transpose(theta), rtol=1e-5, atol=1e-4)
    unit = torch.zeros(500)
    unit[17] = 1
    assert torch.equal(again(unit), projector(unit))


# torch's own forward-mode derivatives still use torch.jit.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_any_order_and_vmap(name) -> None:
    projector = make(name, 23, 5, seed=0)
    omega = normal(5).requires_grad_()
    theta = normal(23, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(projector, (omega,), check_forward_ad=True)
    assert torch.autograd.gradcheck(projector.transpose, (theta,))
    assert torch.autograd.gradgradcheck(projector, (omega,))
    batch = normal(4, 5, seed=2)
    looped = torch.stack([projector(row) for row in batch])
    torch.testing.assert_close(torch.func.vmap(projector)(batch), looped)
    jacobian = torch.func.jacrev(projector)(omega.detach())
    torch.testing.assert_close(jacobian, matrix(projector))
    torch.testing.assert_close(torch.func.jacfwd(projector)(omega.detach()), jacobian)


@pytest.mark.parametrize("native, dim", [(50, 50), (600, 590), (700, 5), (2000, 1100), (4096, 64)])
@pytest.mark.parametrize("name", NAMES)
def test_columns_are_what_the_projector_promises(name, native, dim) -> None:
    promise = load(name).promises(native, dim)
    p = matrix(make(name, native, dim, seed=2))
    if promise == "orthonormal":
        torch.testing.assert_close(p.T @ p, torch.eye(dim, dtype=DOUBLE), rtol=0, atol=2e-6)
    elif promise == "unit":
        torch.testing.assert_close(p.norm(dim=0), torch.ones(dim, dtype=DOUBLE), rtol=0, atol=2e-6)
    squares = torch.stack(
        [matrix(make(name, native, dim, seed=s)).square().sum(0) for s in range(3, 11)]
    )
    spread = squares.flatten().std() / squares.numel() ** 0.5
    # Columns of one P may share what makes them longer, so only seeds count as independent.
    shared = squares.mean(1).std() / len(squares) ** 0.5
    assert squares.mean().item() == pytest.approx(1, abs=5 * float(spread + shared) + 1e-6)


@pytest.mark.parametrize("native, dim", [(1, 1), (31, 5), (4097, 65), (30_000, 500)])
@pytest.mark.parametrize("name", NAMES)
def test_claimed_bytes_are_held_bytes(name, native, dim) -> None:
    assert load(name).footprint(native, dim).held == pytest.approx(
        make(name, native, dim, seed=0).nbytes, rel=0.05, abs=64
    )


@pytest.mark.cuda
@pytest.mark.parametrize("native, dim", [(31, 5), (4097, 65), (30_000, 500)])
@pytest.mark.parametrize("name", NAMES)
def test_cuda_has_the_same_map(name, native, dim) -> None:
    here, there = make(name, native, dim, seed=4), make(name, native, dim, seed=4).cuda()
    unit = torch.eye(dim)[: min(dim, 8)]
    torch.testing.assert_close(there(unit.cuda()).cpu(), here(unit), rtol=4e-7, atol=1e-9)
    omega, theta = normal(3, dim).float(), normal(3, native, seed=1).float()
    torch.testing.assert_close(there(omega.cuda()).cpu(), here(omega), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        there.transpose(theta.cuda()).cpu(), here.transpose(theta), rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize("name", NAMES)
def test_vectors_that_do_not_fit_are_refused(name) -> None:
    projector = make(name, 40, 6, seed=0)
    with pytest.raises(UserError, match="its last dimension must be 6"):
        projector(torch.ones(7))
    with pytest.raises(UserError, match="its last dimension must be 40"):
        projector.transpose(torch.ones(6))
    with pytest.raises(UserError, match="floating"):
        projector(torch.ones(6, dtype=torch.int64))
    with pytest.raises(UserError, match="NaN"):
        projector(torch.tensor([0, 1, 2, 3, float("nan"), 5]))


@pytest.mark.parametrize(
    "native, dim", [(10, 0), (10, -1), (10, 11), (0, 0), (10, 2.0), (10, True)]
)
@pytest.mark.parametrize("name", NAMES)
def test_impossible_dimensions_are_refused(name, native, dim) -> None:
    with pytest.raises(UserError):
        make(name, native, dim, seed=0)


def test_what_no_memory_holds_is_refused_before_it_is_made() -> None:
    with pytest.raises(UserError, match=r"needs .* of memory and .* are free"):
        make("gaussian", 10**9, 10**6, seed=0)


def test_unknown_names_and_idle_first_columns_are_refused() -> None:
    with pytest.raises(UserError, match="choose one of gaussian"):
        make("gausian", 10, 2, seed=0)
    with pytest.raises(UserError, match="no first column"):
        make("gaussian", 10, 2, seed=0, first=torch.ones(10))
