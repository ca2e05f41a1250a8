"""Fastfood against its matrices, and its rows against normals."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from scipy.linalg import hadamard
from vectors import matrix, normal

from subspace_bench import Subspace
from subspace_bench.common.errors import UserError
from subspace_bench.projectors import fastfood, permutations
from subspace_bench.projectors.fastfood import Fastfood, FastfoodLayers


def test_it_is_the_product_of_its_matrices() -> None:
    native, dim, size = 1000, 300, 512
    projector = Fastfood(native, dim, seed=4)
    h = torch.from_numpy(hadamard(size)).double()
    blocks = torch.arange(2)
    g, s = fastfood.diagonals(projector._key, blocks, size, native)
    b = permutations.signs(projector._key, blocks, 0, size)
    index = torch.arange(size).expand(2, size)
    pi = permutations.permute_index(index, permutations.permutation_keys(projector._key, blocks), 9)
    eye = torch.eye(size, dtype=torch.float64)
    parts = [
        s[i].double().diag() @ h @ g[i].double().diag() @ eye[pi[i]] @ h @ b[i].double().diag()
        for i in range(2)
    ]
    expected = torch.cat(parts)[:native, :dim]
    torch.testing.assert_close(matrix(projector), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("native, dim", [(1, 1), (5000, 300), (30_000, 20_000)])
def test_what_is_not_stored_is_made_again_the_same(native, dim, monkeypatch) -> None:
    stored = Fastfood(native, dim, seed=2)
    monkeypatch.setattr(fastfood, "STORED", 0)
    computed = Fastfood(native, dim, seed=2)
    assert computed.nbytes == Fastfood.footprint(native, dim).resident_bytes == 0
    omega, theta = normal(2, dim), normal(2, native, seed=1)
    assert torch.equal(computed(omega), stored(omega))
    assert torch.equal(computed.transpose(theta), stored.transpose(theta))
    for act, vector in (("forward", omega.double()), ("transpose", theta.double())):
        a, b = getattr(computed, act)(vector), getattr(stored, act)(vector)
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6 * float(b.abs().max()))


def test_rows_are_as_long_as_gaussian_ones_and_entries_as_spread() -> None:
    native, dim = 4096, 256  # without padding, a row's length is that of S alone
    p = torch.cat([matrix(Fastfood(native, dim, seed)) for seed in range(4)])
    lengths = (p.norm(dim=1) * native**0.5).numpy()
    assert stats.kstest(lengths, stats.chi(dim).cdf).pvalue > 1e-3
    entries = p.flatten() * native**0.5
    assert abs(stats.kurtosis(entries.numpy())) < 0.1
    assert abs(entries.mean()) < 4 / len(entries) ** 0.5
    columns = p[:native].T @ p[:native]
    # A product of two columns is Σ ± G² over the rows: 2/D of variance, where a Gaussian P has 1/D.
    products = columns[~torch.eye(dim, dtype=torch.bool)]
    assert products.std().item() == pytest.approx((2 / native) ** 0.5, rel=0.1)
    assert products.abs().max() < 6 * (2 / native) ** 0.5


def test_layers_start_anew_and_see_all_of_omega() -> None:
    native, dim, layers = 1504, 300, [1000, 3, 500, 1]
    projector = FastfoodLayers(native, dim, 5, layers)
    p = matrix(projector)
    assert (p[1000:1003] != 0).all()
    assert torch.linalg.matrix_rank(p[1000:1003]) == 3
    torch.testing.assert_close(
        p.square().sum(0).mean(), torch.tensor(1.0).double(), rtol=0, atol=0.1
    )
    omega, theta = normal(3, dim), normal(3, native, seed=1)
    torch.testing.assert_close(projector(omega), (omega.double() @ p.T).float())
    torch.testing.assert_close(
        projector.transpose(theta), (theta.double() @ p).float(), rtol=1e-4, atol=1e-4
    )


def test_one_layer_is_the_whole_vector() -> None:
    whole, layer = Fastfood(1504, 300, 5), FastfoodLayers(1504, 300, 5, [1504])
    assert torch.equal(matrix(whole), matrix(layer))


def test_a_model_hands_its_layers_over() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.Linear(30, 2))
    projector = Subspace(model, 40, "fastfood-layers").projector
    assert projector.identity()["layers"] == [600, 30, 60, 2]


@pytest.mark.parametrize("layers", [[], [5, 4], [11, -1]])
def test_layers_that_are_not_those_of_theta_are_refused(layers) -> None:
    with pytest.raises(UserError):
        FastfoodLayers(10, 2, 0, layers)
