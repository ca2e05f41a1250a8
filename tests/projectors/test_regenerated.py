"""Entries computed at each use: the same in every way, and distributed as they should be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from vectors import normal

from subspace_bench.common import rng
from subspace_bench.kernels.cpu import philox as kernels
from subspace_bench.projectors import make, philox, regenerated

NAMES = ("regenerated", "regenerated-signs")
# Beside the sizes of blocks (64 and 512 rows), tiles (8,192 × 32) and groups (64 and 4 columns).
SIZES = [(1, 1), (63, 2), (65, 64), (511, 4), (513, 67), (1500, 1027), (8191, 33), (16_500, 5)]


def ulps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How many float32 lie between two."""
    ordered = [np.where(i < 0, -(i & 0x7FFFFFFF), i) for i in (a.view(np.int32), b.view(np.int32))]
    return np.abs(ordered[0].astype(np.int64) - ordered[1])


def expected_normals(words: torch.Tensor) -> torch.Tensor:
    """Normals of (blocks, 4, 16) words, as kernels lay them out."""
    a, b, c, d = words.unbind(1)
    return torch.stack([*philox.normal_pair(a, b), *philox.normal_pair(c, d)], 1).flatten()


@pytest.mark.parametrize("size", [1, 63, 64, 1000, 1 << 20])
def test_vectors_of_words_and_normals_are_those_of_plain_torch(size) -> None:
    key, first, c1, c2 = rng.key(7, "any"), 48, 123_456_789, 5
    blocks = torch.arange(first // 16, first // 16 + -(-size // 64))
    counters = 16 * blocks[:, None] + torch.arange(16)
    words = torch.stack(philox.words(key, counters, torch.tensor(c1), torch.tensor(c2)), 1)
    made, numbers = np.empty(size, np.uint32), np.empty(size, np.float32)
    kernels.words_into(made, kernels.round_keys(key), first, c1, c2)
    assert np.array_equal(made, words.flatten().numpy()[:size])
    kernels.normals_into(numbers, kernels.round_keys(key), first, c1, c2)
    assert ulps(numbers, expected_normals(words).numpy()[:size]).max() <= 2


def test_normals_of_the_ends_of_words_are_those_of_plain_torch() -> None:
    """Where polynomials change pieces, rounding carries, and radius or angle is least or most."""
    powers = 2 ** torch.arange(33)
    near = torch.cat(
        [powers + k for k in (-2, -1, 0, 1, 2)] + [powers * 2 // 3 + k for k in (0, 1)]
    )
    arcs = torch.arange(4)[:, None] * 2**30 + torch.tensor([0, 1, 2**29 - 1, 2**29, 2**29 + 1])
    turned = torch.cat([arcs.flatten(), arcs.flatten() + 2**30 - 1, near])
    ends = torch.cat([near, turned]).remainder(2**32).unique()
    a, b = (w.flatten() for w in torch.meshgrid(ends, ends, indexing="ij"))
    a, b = (torch.nn.functional.pad(w, (0, -len(w) % 16)) for w in (a, b))
    exact = torch.cat([z.view(-1, 16) for z in philox.normal_pair(a, b)], 1).flatten().numpy()
    made = np.empty(2 * len(a), np.float32)
    kernels.pairs_into(made, a.numpy().astype(np.uint32), b.numpy().astype(np.uint32))
    assert np.isfinite(exact).all()
    assert ulps(made, exact).max() <= 2


@pytest.mark.parametrize("native, dim", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_it_has_the_entries_of_plain_torch_whatever_the_way(name, native, dim) -> None:
    projector = make(name, native, dim, seed=1)
    columns = projector.entries(slice(0, native), slice(0, dim)) * projector.scale
    entries, p = columns[:70], columns.double()
    close = {"rtol": 2 * 2.0**-23, "atol": 0}  # 2 ulp of the larger numbers of a binade
    unit = torch.eye(dim)[: len(entries)]
    torch.testing.assert_close(projector(unit), entries, **close)  # by tiles
    for j in {0, len(unit) // 2, len(unit) - 1}:
        torch.testing.assert_close(projector(unit[j]), entries[j], **close)  # in registers
    torch.testing.assert_close(projector(unit.double()), entries.double(), **close)
    for count in (1, 2, 3, 4, 5, 7):
        omega, theta = normal(count, dim, seed=count), normal(count, native, seed=count)
        exact, back = omega.double() @ p, theta.double() @ p.T
        for made, right in ((projector(omega), exact), (projector.transpose(theta), back)):
            torch.testing.assert_close(
                made.double(), right, rtol=0, atol=2e-6 * right.abs().max().item() + 1e-7
            )


@pytest.mark.parametrize("native, dim", [(513, 67), (1500, 1027)])
@pytest.mark.parametrize("name", NAMES)
def test_a_vector_has_the_same_bits_alone_in_a_batch_and_on_any_threads(name, native, dim) -> None:
    projector = make(name, native, dim, seed=1)
    for act, size in ((projector.forward, dim), (projector.transpose, native)):
        batch = normal(4, size)
        together = act(batch)
        torch.set_num_threads(3)
        assert torch.equal(act(batch), together)
        torch.set_num_threads(1)
        for row, result in zip(batch, together, strict=True):
            assert torch.equal(act(row), result)


@pytest.mark.parametrize("name", NAMES)
def test_entries_are_a_function_of_seed_row_and_column(name) -> None:
    """As the docstrings say, with NumPy's own integers, one by one; D and d change nothing."""
    large, small = make(name, 9000, 70, seed=2), make(name, 1100, 9, seed=2)
    z = large.entries(slice(0, 9000), slice(0, 70))
    assert torch.equal(z[:9, :1100], small.entries(slice(0, 1100), slice(0, 9)))
    assert torch.equal(z[32:, 8192:], large.entries(slice(8192, 9000), slice(32, 70)))
    key = rng.key(2, regenerated.STREAM)
    for i, j in ((0, 0), (777, 3), (8999, 69), (8200, 42)):
        if name == "regenerated":
            c = torch.tensor([16 * (i // 64) + i % 16]), torch.tensor([j])
            w = philox.words(key, *c)
            numbers = [*philox.normal_pair(*w[:2]), *philox.normal_pair(*w[2:])]
            assert z[j, i] == numbers[i // 16 % 4]
        else:
            c = [torch.tensor([n]) for n in (16 * (i // 512) + i % 16, j // 4, 1)]
            word = philox.words(key, *c)[j % 4].item()
            assert z[j, i] == (-1 if word >> (31 - i // 16 % 32) & 1 else 1)


def test_normals_are_distributed_as_they_should_be() -> None:
    z = make("regenerated", 4096, 250, seed=3).entries(slice(0, 4096), slice(0, 250))
    flat = z.flatten().double().numpy()
    assert stats.kstest(flat, "norm").pvalue > 1e-3
    n = len(flat) ** 0.5
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3), (6, 15)):
        powers = flat**power
        assert abs(powers.mean() - moment) < 4 * powers.std() / n
    assert all(stats.kstest(column.numpy(), "norm").pvalue > 1e-5 for column in z[:50])
    assert all(stats.kstest(row.numpy(), "norm").pvalue > 1e-5 for row in z.T[:128])


def test_signs_are_balanced() -> None:
    z = make("regenerated-signs", 4096, 256, seed=3).entries(slice(0, 4096), slice(0, 256))
    assert set(z.unique().tolist()) == {-1, 1}
    assert abs(z.mean()) < 4 / z.numel() ** 0.5
    for sums, count in ((z.sum(0), 256), (z.sum(1), 4096)):
        assert stats.kstest((sums / count**0.5).numpy(), "norm").statistic < 0.09
        assert sums.abs().max() < 5 * count**0.5


@pytest.mark.parametrize("name", NAMES)
def test_neighbours_and_seeds_are_uncorrelated(name) -> None:
    a, b = (
        make(name, 4096, 256, s).entries(slice(0, 4096), slice(0, 256)).double() for s in (3, 4)
    )
    bound = 4.5 / (a.numel() * 0.8) ** 0.5
    assert abs((a * b).mean()) < bound
    for apart in (1, 2, 3, 4, 8, 16, 32, 48, 64, 128, 512, 1024):  # lanes, words and blocks
        assert abs((a[:, apart:] * a[:, :-apart]).mean()) < bound * 1.2
        if apart < 100:
            assert abs((a[apart:] * a[:-apart]).mean()) < bound * 1.2
    gram = a @ a.T / 4096 - torch.diag((a * a).mean(1))
    assert gram.abs().max() < 6 / 4096**0.5
