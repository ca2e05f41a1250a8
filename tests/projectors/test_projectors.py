"""The contract of every registered projector: its map, adjoint, gradients, columns and bytes."""

from __future__ import annotations

import zlib
from types import SimpleNamespace

import pytest
import torch
import vectors
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from vectors import matrix

from subspace_bench.common import rng
from subspace_bench.common.errors import UserError
from subspace_bench.projectors import load, make, names, registry

NAMES = names()
BITS = set(registry.BUILT_IN) - {"kronecker"}  # whose float32 bits are the same on any threads
# D = 1, d = 1, d = D, primes, powers of two and their neighbours.
SIZES = [
    (1, 1), (2, 1), (2, 2), (7, 7), (31, 5), (64, 64), (127, 64), (128, 100), (129, 128),
    (1031, 97), (1024, 33), (1025, 1), (4097, 65),
]  # fmt: skip
DOUBLE = torch.float64


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return vectors.normal(*shape, seed=seed, dtype=DOUBLE)


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


# Rounding as a share of the largest number that terms can add up to.
ROUNDING = {DOUBLE: 1e-12, torch.float32: 2e-6, torch.bfloat16: 2e-2, torch.float16: 3e-3}


@pytest.mark.parametrize("name", NAMES)  # so that those of other packages are chosen by name
@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.sampled_from(list(ROUNDING)), st.integers(1, 300), st.data(), st.integers(0, 2**31))
def test_linear_in_omega_with_an_exact_adjoint(name, dtype, native, data, seed) -> None:
    dim = data.draw(st.integers(1, native))
    projector = make(name, native, dim, seed)
    a, b = normal(2, dim, seed=seed).to(dtype)
    s, t = normal(2, seed=seed + 1).tolist()
    theta = normal(native, seed=seed + 2).to(dtype)
    both, left, right, back = (
        v.double()
        for v in (projector(s * a + t * b), projector(a), projector(b), projector.transpose(theta))
    )
    sums = abs(s) * a.double().norm() + abs(t) * b.double().norm()
    bound = 10 * ROUNDING[dtype] * float(matrix(projector).norm(dim=1).max() * sums)
    assert (both - (s * left + t * right)).abs().max() <= bound
    exact, adjoint = left @ theta.double(), a.double() @ back
    assert abs(exact - adjoint) <= 10 * ROUNDING[dtype] * float(left.norm() * theta.double().norm())


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


@pytest.mark.parametrize("name, native, dim", [
    # One block of rows and many, cut blocks, d beside a power of two, indices over 16 bits.
    *[("fastfood", *s) for s in ((300, 300), (4096, 256), (21_840, 1000), (100_000, 70_000))],
    *[("hashed", *s) for s in ((10, 3), (10_000, 4096), (150_000, 40_000))],
    *[("sparse", *s) for s in ((17, 3), (4096, 9), (9001, 40))],
    *[("sparse-signs", *s) for s in ((17, 3), (4096, 9), (9001, 40))],
    *[("srht", *s) for s in ((300, 7), (1 << 19, 100), (700_001, 1000))],
])  # fmt: skip
def test_kernels_round_and_on_any_threads_give_the_same_bits(name, native, dim) -> None:
    """At the sizes that matter to each kernel, compared with plain PyTorch in float64."""
    projector = make(name, native, dim, seed=1)
    for act, size in ((projector.forward, dim), (projector.transpose, native)):
        torch.set_num_threads(1)
        given_ = normal(2, size).float()
        before, result, exact = given_.clone(), act(given_), act(given_.double())
        assert torch.equal(given_, before)
        assert (result - exact).abs().max() <= 3e-6 * exact.abs().max()
        for threads in (2, 3):
            torch.set_num_threads(threads)
            assert torch.equal(act(given_), result)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=4, deadline=None, derandomize=True)
@given(st.integers(8, 60), st.data(), st.integers(0, 2**31))
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


@pytest.mark.parametrize("name", NAMES)
def test_the_map_does_not_depend_on_threads(name) -> None:
    """More columns than one block of any kind has, and vectors that use all of them."""
    native, dim = 20_001, 600
    omega, theta = normal(dim).float(), normal(native, seed=1).float()
    projector = make(name, native, dim, seed=2)
    forward, back = projector(omega), projector.transpose(theta)
    for threads in (2, 3):
        torch.set_num_threads(threads)
        again = make(name, native, dim, seed=2)
        for ours, other in zip(projector.buffers(), again.buffers(), strict=True):
            assert torch.equal(ours, other)
        if name in BITS:
            assert torch.equal(again(omega), forward)
            assert torch.equal(again.transpose(theta), back)
        torch.testing.assert_close(again(omega), forward, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(again.transpose(theta), back, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_autocast_changes_nothing(name) -> None:
    projector = make(name, 3000, 40, seed=1)
    omega, theta = normal(3, 40).float(), normal(3, 3000, seed=1).float()
    forward, back = projector(omega), projector.transpose(theta)
    traced = omega.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = make(name, 3000, 40, seed=1)
        assert torch.equal(again(omega), forward)
        assert torch.equal(again.transpose(theta), back)
        batched = torch.func.vmap(torch.func.vmap(again))(omega[None])[0]
        assert torch.equal(batched, forward)
        again(traced).backward(theta)
    assert torch.equal(traced.grad, back)


@pytest.mark.parametrize("name", NAMES)
def test_defaults_of_torch_change_nothing(name) -> None:
    omega, theta = normal(3, 40).float(), normal(3, 3000, seed=1).float()
    vectors = [*omega, omega, omega.double(), *theta, theta, theta.double()]

    def results() -> list[torch.Tensor]:
        p = make(name, 3000, 40, seed=1)
        maps = {40: p.forward, 3000: p.transpose}
        return [*p.buffers(), *(maps[v.shape[-1]](v) for v in vectors)]

    expected = results()
    torch.set_default_dtype(DOUBLE)
    try:
        with torch.device("meta"):
            found = results()
    finally:
        torch.set_default_dtype(torch.float32)
    for ours, other in zip(found, expected, strict=True):
        assert ours.dtype == other.dtype
        assert torch.equal(ours, other)


def test_kinds_do_not_share_their_streams(monkeypatch) -> None:
    """So that maps of one seed are as independent as maps of two."""
    drawn: list[str] = []

    def crc32(name: bytes) -> int:
        drawn.append(name.decode())
        return zlib.crc32(name)

    monkeypatch.setattr(rng, "zlib", SimpleNamespace(crc32=crc32))
    owners: dict[str, str] = {}
    for name in NAMES:
        drawn.clear()
        make(name, 300, 20, seed=5)
        assert drawn
        for stream in drawn:
            owner = owners.setdefault(stream, name)
            assert name == owner or name.startswith(f"{owner}-"), stream  # a variant, on purpose


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


@pytest.mark.parametrize(
    "native, dim",
    [
        (50, 50), (600, 590), (700, 5), (4096, 64),
        pytest.param(1300, 1030, marks=pytest.mark.slow),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", NAMES)
def test_columns_are_what_the_projector_promises(name, native, dim) -> None:
    norms = load(name).column_norms(native, dim)
    p = matrix(make(name, native, dim, seed=2))
    if norms == "orthonormal":
        torch.testing.assert_close(p.T @ p, torch.eye(dim, dtype=DOUBLE), rtol=0, atol=2e-6)
    elif norms == "unit":
        torch.testing.assert_close(p.norm(dim=0), torch.ones(dim, dtype=DOUBLE), rtol=0, atol=2e-6)
    if norms in ("orthonormal", "unit"):
        return  # whatever the seed, so that no mean over seeds is needed
    squares = torch.stack(
        [matrix(make(name, native, dim, seed=s)).square().sum(0) for s in range(3, 11)]
    )
    spread = squares.flatten().std() / squares.numel() ** 0.5
    # Columns of one P may share what makes them longer, so only seeds count as independent.
    shared = squares.mean(1).std() / len(squares) ** 0.5
    assert squares.mean().item() == pytest.approx(1, abs=5 * float(spread + shared) + 1e-6)


@pytest.mark.parametrize("native, dim", [(1, 1), (31, 5), (4097, 65), (30_000, 500)])
@pytest.mark.parametrize("name", NAMES)
def test_claimed_bytes_are_resident_bytes(name, native, dim) -> None:
    assert load(name).footprint(native, dim).resident_bytes == pytest.approx(
        make(name, native, dim, seed=0).nbytes, rel=0.05, abs=64
    )


@pytest.mark.parametrize("dim", [1, 1_000, 10_000])
def test_claimed_bytes_count_the_blocks_of_every_layer(dim) -> None:
    layers = [500, 20, 5_000, 10, 16_000, 50, 500, 10]
    projector = make("fastfood-layers", sum(layers), dim, seed=0, layers=layers)
    assert registry.footprint(
        "fastfood-layers", sum(layers), dim, layers=layers
    ).resident_bytes == (projector.nbytes)


@pytest.mark.parametrize("shape", [(5, 40), (5, 60), (7, 50)])
def test_columns_of_another_shape_are_refused(shape) -> None:
    projector = make("gaussian", 50, 5, seed=0)
    projector.columns = torch.ones(shape)
    for act, size in ((projector, 5), (projector.transpose, 50)):
        with pytest.raises(UserError):
            act(torch.ones(size))


@pytest.mark.parametrize("name", ["gaussian", "gaussian-unit", "gaussian-bf16"])
def test_dense_entries_are_normal(name) -> None:
    """Moments, and Kolmogorov and Smirnov's test, of numbers of variance 1."""
    entries = matrix(make(name, 4_000, 50, seed=1)).flatten().numpy() * 4_000**0.5
    n = len(entries)
    assert abs(entries.mean()) < 4 / n**0.5
    assert abs((entries**2).mean() - 1) < 4 * (2 / n) ** 0.5
    assert abs((entries**3).mean()) < 4 * (15 / n) ** 0.5
    assert abs((entries**4).mean() - 3) < 4 * (96 / n) ** 0.5
    if name != "gaussian-bf16":  # which rounds to 8 bits
        assert stats.kstest(entries, "norm").pvalue > 1e-3


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
