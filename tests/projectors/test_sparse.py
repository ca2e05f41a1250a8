"""Sparse projectors have entries as often as they should."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from vectors import matrix

from subspace_bench.projectors import make
from subspace_bench.projectors.sparse import bernoulli_positions

DOUBLE = torch.float64


@pytest.mark.parametrize("name, chance", [("sparse", 10_000**-0.5), ("sparse-signs", 1 / 3)])
def test_entries_are_as_frequent_as_they_should_be_and_signs_even(name, chance) -> None:
    p = matrix(make(name, 10_000, 60, seed=1))
    there = p != 0
    assert stats.binomtest(int(there.sum()), p.numel(), chance).pvalue > 1e-4
    assert stats.binomtest(int((p > 0).sum()), int(there.sum()), 0.5).pvalue > 1e-4
    torch.testing.assert_close(p[there].abs().unique(), torch.tensor([(10_000 * chance) ** -0.5],
                               dtype=DOUBLE))  # fmt: skip


def test_gaps_between_entries_are_geometric() -> None:
    places, signs = bernoulli_positions(400_000, 0.02, seed=2, block=0)
    assert (np.diff(places) > 0).all()
    assert places[0] >= 0
    assert places[-1] < 400_000
    lengths = np.bincount(np.minimum(np.diff(places), 200), minlength=201)[1:]
    chances = 0.02 * 0.98 ** np.arange(200)
    chances[-1] = 0.98**199
    assert stats.chisquare(lengths, lengths.sum() * chances).pvalue > 1e-4
    assert set(signs) == {0, 1}


def test_entries_sorted_by_column_are_the_same_matrix() -> None:
    pytest.importorskip("triton")
    from subspace_bench.kernels.triton.sparse import by_column

    p = make("sparse", 9_000, 40, seed=2)
    where = p._low, p.native, p._rows, p.dim
    pointers, listed = by_column(p.starts, p.entries, *where, most=1_000)
    columns = torch.arange(p.dim).repeat_interleave(pointers.diff())
    found = torch.zeros(p.native, p.dim, dtype=DOUBLE)
    found[listed >> 1, columns] = (1 - 2 * (listed & 1)).double() * p.native**-0.25
    torch.testing.assert_close(found, matrix(p), rtol=1e-12, atol=0)
    same = columns[1:] == columns[:-1]
    assert (listed.diff()[same] > 0).all()  # in a fixed order, so that sums are
