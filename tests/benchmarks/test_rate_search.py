"""The search for a best rate stays in its grid, or extends it."""

from __future__ import annotations

import math

import pytest

from benchmarks.rate_search import best_rate


@pytest.mark.parametrize("best", [0.1, 0.2, 0.8, 0.0125])
def test_the_best_rate_is_found_inside_or_beyond_the_grid(best: float) -> None:
    tried: set[float] = set()

    def accuracy(rate: float) -> float:
        tried.add(rate)
        return -abs(math.log(rate / best))

    assert best_rate((0.05, 0.1, 0.2), accuracy) == pytest.approx(best)
    assert min(tried) < best < max(tried)
