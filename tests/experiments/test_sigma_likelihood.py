"""The likelihood of a published curve: against SciPy's density, and on curves whose σ is known."""

from __future__ import annotations

import numpy as np
import pytest
from flat_records import records
from scipy import stats

from subspace_bench.experiments.sigma_likelihood import (
    Cell,
    Noise,
    best_rho,
    left_out,
    log_likelihood,
    make_cell,
    p_value,
    recovered,
    spread,
    totals,
)
from subspace_bench.training import presets

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
    found = {
        key: log_likelihood(cell.published, cell.seeds, cell.steps, rho, NOISE)
        for key, cell in cells.items()
    }
    sums = totals(found)
    assert max(sums, key=lambda sigma: sums[sigma]) == 0.01
    counts = recovered(cells, rho, NOISE)
    assert counts.sum(1).tolist() == [5, 5, 5]
    assert np.trace(counts) >= 13


def test_one_in_twenty_curves_of_the_model_itself_has_a_p_value_below_5_percent() -> None:
    rng, at, p_values = np.random.default_rng(3), np.arange(2, 23, 4), []
    for _ in range(150):
        both = curves(rng, 700.0, 6)[:, at]
        p_values.append(p_value(Cell(STEPS[at], both[0], both[1:]), 0.8, NOISE))
    below = int(np.sum(np.array(p_values) < 0.05))
    assert stats.binomtest(below, 150, 0.05).pvalue > 0.001
    far = Cell(STEPS[at], both[0] + 8.0, both[1:])
    assert p_value(far, 0.8, NOISE) < 0.01


def test_a_cell_has_the_published_steps_that_are_not_hidden() -> None:
    run = presets.lite("mlp-16")
    cell = make_cell(records({run: [80.0, 81.0]}), ([100, 200, 300], [79.0, np.nan, 81.0]))
    assert cell is not None
    assert cell.steps.tolist() == [100, 300]
    assert cell.published.tolist() == [79.0, 81.0]
    assert cell.seeds.tolist() == [[80.0, 80.0], [81.0, 81.0]]
    assert make_cell(records({run: [80.0]}), ([100], [79.0])) is None


def test_a_left_out_seed_scores_what_the_others_give_it() -> None:
    cell = Cell(STEPS, STEPS * 0.0, curves(np.random.default_rng(4), 700.0, 5))
    expected = log_likelihood(cell.seeds[2], np.delete(cell.seeds, 2, 0), STEPS, 0.8, NOISE)
    assert left_out([cell, cell], 0.8, NOISE)[2] == pytest.approx(2 * expected)
