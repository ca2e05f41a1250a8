"""The hashed projector: balanced and random enough."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from subspace_bench.projectors.hashed import _CHUNK, Hashed

SIZES = [(10, 3), (4096, 100), (10_000, 4096), (70_000, 1000), (150_000, 40_000)]


def columns_of(projector: Hashed) -> torch.Tensor:
    """c(i) of every row, from P itself: its entries times the row's column number."""
    scale = projector._scale(torch.ones(1, dtype=torch.float64))
    numbered = torch.arange(1, projector.dim + 1, dtype=torch.float64) / scale
    return projector(numbered).abs().round().long() - 1


@pytest.mark.parametrize("native, dim", SIZES)
def test_rows_are_dealt_out_evenly(native, dim) -> None:
    counts = torch.bincount(columns_of(Hashed(native, dim, 0)), minlength=dim)
    assert set(counts.tolist()) <= {native // dim, -(-native // dim)}
    assert counts.sum() == native


def test_rows_share_a_column_as_often_as_chance_has_it() -> None:
    """At any distance between rows, over many seeds: 1/d, but for the dealing without repeats."""
    dim, seeds = 64, 40
    columns = torch.stack([columns_of(Hashed(20_000, dim, s)) for s in range(seeds)])
    for lag in (1, 2, 3, 5, 8, 64, 128, 1000, 4096):
        shared = int((columns[:, lag:] == columns[:, :-lag]).sum())
        assert shared / columns[:, lag:].numel() == pytest.approx(1 / dim, rel=0.05)


def test_each_row_meets_every_column_over_seeds() -> None:
    dim = 16
    columns = torch.stack([columns_of(Hashed(5000, dim, s)) for s in range(400)])
    for row in (0, 1, 4095, 4096, 4999):
        observed = torch.bincount(columns[:, row], minlength=dim)
        assert stats.chisquare(observed.numpy()).pvalue > 1e-4


def test_signs_are_balanced_and_do_not_follow_the_columns() -> None:
    projector = Hashed(100_000, 50, 3)
    signs = projector(torch.ones(50, dtype=torch.float64)).sign()
    assert abs(signs.mean()) < 4 / 100_000**0.5
    means = torch.stack([signs[columns_of(projector) == c].mean() for c in range(50)])
    assert means.abs().max() < 5 / 2000**0.5


def test_plain_pytorch_takes_a_limited_number_of_rows_at_a_time() -> None:
    projector = Hashed(3_000_000, 100, seed=0)
    parts = [(start, stop) for start, stop, *_ in projector._rows(torch.zeros(1))]
    assert [start for start, _ in parts[1:]] == [stop for _, stop in parts[:-1]]
    assert max(stop - start for start, stop in parts) <= _CHUNK
