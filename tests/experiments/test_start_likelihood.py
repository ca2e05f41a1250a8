"""The likelihood of a published curve: against SciPy's density, and on curves whose σ is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from subspace_bench.experiments.start_likelihood import (
    Cell,
    Noise,
    best_rho,
    log_likelihood,
    log_likelihoods,
    recovered,
    spread,
    totals,
)

NOISE = Noise(floor=0.5, reading=0.3, draws=9_984)
STEPS = np.arange(100, 2_301, 100)


def curves(rng: np.random.Generator, start: float, n: int, rho: float = 0.8) -> np.ndarray:
    """(n, k) curves that leave a plateau around step `start`, with correlated noise."""
    mean = 10 + 70 / (1 + np.exp(-(STEPS - start) / 150))
    distance = np.abs(STEPS[:, None] - STEPS[None, :]) / 100
    return mean + rng.multivariate_normal(np.zeros(len(STEPS)), 2.0 * rho**distance, n)


def test_one_step_is_the_prediction_of_students_t() -> None:
    seeds = np.array([[50.0], [52.0], [51.0], [49.0], [53.0]])
    scale = np.sqrt(1.2 * 2.5 + 0.3**2 / 3 + 0.51 * 0.49 * 1e4 / 9_984)
    expected = stats.t.logpdf(54.0, df=4, loc=51.0, scale=scale)
    found = log_likelihood(np.array([54.0]), seeds, np.array([2_300]), 0.5, NOISE)
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_spread_has_a_floor_and_looks_at_neighbours_only() -> None:
    seeds = np.zeros((5, 4))
    seeds[:, 0] = [-3, 3, -3, 3, 0]
    found = spread(seeds, np.array([100, 200, 400, 500]), 0.5)
    variance = np.var([-3, 3, -3, 3, 0], ddof=1)
    np.testing.assert_allclose(found, [np.sqrt(variance / 2), np.sqrt(variance / 2), 0.5, 0.5])


def test_the_sigma_that_made_the_curves_is_found() -> None:
    rng = np.random.default_rng(0)
    starts = {0.005: 900.0, 0.01: 700.0, 0.014: 560.0}
    published = {size: curves(rng, 700.0 + 100 * i, 1)[0] for i, size in enumerate("ab")}
    cells = {
        (sigma, size): Cell(STEPS, published[size], curves(rng, start + 100 * i, 5))
        for sigma, start in starts.items()
        for i, size in enumerate("ab")
    }
    rho = best_rho(list(cells.values()), [0.0, 0.5, 0.8, 0.95], NOISE)
    assert rho in (0.5, 0.8)
    sums = totals(log_likelihoods(cells, rho, NOISE))
    assert max(sums, key=lambda sigma: sums[sigma]) == 0.01
    counts = recovered(cells, rho, NOISE)
    assert counts.sum(1).tolist() == [5, 5, 5]
    assert np.trace(counts) >= 13
