"""Which initial σ made a published curve? The likelihood of that curve under each candidate.

The criterion stands in `published/start.toml`, written before its runs. The published curve y is
taken as one more run beside our n seeds: multivariate Student t with n − 1 degrees of freedom,

    y ~ t(ȳ, Σ),   Σ_tu = (1 + 1/n) s_t s_u ρ^(|t − u| / 100) + [t = u] (reading² / 3 + sampling_t)

where s_t is the standard deviation over seeds and ρ the correlation of neighbouring scores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # its `stats`, which takes 0.7 s to import, when it is first used

from subspace_bench.experiments.comparison_table import Points
from subspace_bench.experiments.curves import stacked
from subspace_bench.records.store import Record

SIMULATIONS = 999
STEPS_APART = 100  # updates between two scores of the post


@dataclass(frozen=True)
class Noise:
    """What stands between a run and its published curve.

    Attributes:
        floor: least standard deviation over seeds, in points: five seeds can agree by chance.
        reading: half-width of the error of reading a figure, in points (uniform).
        draws: test images that the post drew, with repeats, for each score.
    """

    floor: float
    reading: float
    draws: int


@dataclass(frozen=True)
class Cell:
    """One published curve and our seeds under one candidate.

    Attributes:
        steps: (k,) at which the figure shows a point.
        published: (k,) accuracies in %.
        seeds: (n, k) our accuracies at these steps.
    """

    steps: np.ndarray
    published: np.ndarray
    seeds: np.ndarray


def log_likelihood(
    curve: np.ndarray, seeds: np.ndarray, steps: np.ndarray, rho: float, noise: Noise
) -> float:
    """Log density of a curve (k,) as one more run beside `seeds` (n, k); n ≥ 2."""
    sigma = scale_matrix(seeds, steps, rho, noise)
    return float(scipy.stats.multivariate_t.logpdf(curve, seeds.mean(0), sigma, df=len(seeds) - 1))


def scale_matrix(seeds: np.ndarray, steps: np.ndarray, rho: float, noise: Noise) -> np.ndarray:
    """Σ (…, k, k) of one more curve beside `seeds` (…, n, k); n ≥ 2."""
    sd, n = spread(seeds, steps, noise.floor), seeds.shape[-2]
    between = (1 + 1 / n) * sd[..., :, None] * sd[..., None, :] * correlation(steps, rho)
    error = measurement_variance(seeds.mean(-2), noise)
    total: np.ndarray = between + error[..., None] * np.eye(len(steps))
    return total


def correlation(steps: np.ndarray, rho: float) -> np.ndarray:
    """(k, k) correlation between the accuracies of a run at two steps."""
    power: np.ndarray = rho ** (np.abs(steps[:, None] - steps[None, :]) / STEPS_APART)
    return power


def measurement_variance(accuracy: np.ndarray, noise: Noise) -> np.ndarray:
    """Variance of a published point from reading the figure and from drawing test images."""
    share = np.clip(accuracy / 100, 0, 1)
    variance: np.ndarray = noise.reading**2 / 3 + share * (1 - share) * 1e4 / noise.draws
    return variance


def p_value(cell: Cell, rho: float, noise: Noise) -> float:
    """How often one more run lies as far from our mean curve as the published one, or farther.

    The distance is r'Σ⁻¹r with r = y − ȳ. Its distribution is simulated (a parametric bootstrap:
    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993), because Σ is estimated from few
    seeds: by the t distribution alone, hardly any curve would ever lie too far.
    """
    random = np.random.RandomState(0)  # its stream never changes, so pages stay the same
    (n, k), mean = cell.seeds.shape, cell.seeds.mean(0)
    sd = spread(cell.seeds, cell.steps, noise.floor)
    # A trifle on the diagonal, because many equal correlations make the matrix nearly singular.
    root = sd[:, None] * np.linalg.cholesky(correlation(cell.steps, rho) + 1e-9 * np.eye(k))
    runs = mean + random.standard_normal((SIMULATIONS, n + 1, k)) @ root.T
    error = np.sqrt(measurement_variance(mean, noise))
    curves = runs[:, 0] + error * random.standard_normal((SIMULATIONS, k))
    simulated = distance(curves, runs[:, 1:], cell.steps, rho, noise)
    farther = simulated >= distance(cell.published, cell.seeds, cell.steps, rho, noise)
    return float((1 + farther.sum()) / (1 + SIMULATIONS))


def distance(
    curve: np.ndarray, seeds: np.ndarray, steps: np.ndarray, rho: float, noise: Noise
) -> np.ndarray:
    """r'Σ⁻¹r of curves (…, k) beside seeds (…, n, k)."""
    gap = curve - seeds.mean(-2)
    solved = np.linalg.solve(scale_matrix(seeds, steps, rho, noise), gap[..., None])[..., 0]
    total: np.ndarray = (gap * solved).sum(-1)
    return total


def make_cell(records: Sequence[Record], points: Points) -> Cell | None:
    """The published points, and our accuracies at their steps; None for fewer than two seeds."""
    if len(records) < 2:
        return None
    target = {int(s): v for s, v in zip(*points, strict=True) if not math.isnan(v)}
    steps, values = stacked(records)
    at = [i for i, step in enumerate(steps) if int(step) in target]
    published = np.array([target[int(steps[i])] for i in at])
    return Cell(steps[at], published, values[:, at])


def spread(seeds: np.ndarray, steps: np.ndarray, floor: float) -> np.ndarray:
    """(…, k) standard deviations over seeds; variances are averaged over a step and its neighbours.

    Five seeds give a rough variance at a single step, and zero where all sit on the plateau.
    """
    near = np.abs(steps[:, None] - steps[None, :]) <= STEPS_APART
    variance = seeds.var(-2, ddof=1) @ near / near.sum(1)
    smoothed: np.ndarray = np.sqrt(np.maximum(variance, floor**2))
    return smoothed


def best_rho(cells: Sequence[Cell], rhos: Sequence[float], noise: Noise) -> float:
    """The ρ under which our own seeds, each left out in turn, are the most likely."""

    def total(rho: float) -> float:
        return math.fsum(
            log_likelihood(seed, np.delete(cell.seeds, i, 0), cell.steps, rho, noise)
            for cell in cells
            for i, seed in enumerate(cell.seeds)
        )

    return max(rhos, key=total)


def totals(found: Mapping[tuple[float, str], float]) -> dict[float, float]:
    """candidate → sum over all d."""
    sums: dict[float, float] = {}
    for (candidate, _), value in found.items():
        sums[candidate] = sums.get(candidate, 0.0) + value
    return sums


def left_out(cells: Sequence[Cell], rho: float, noise: Noise) -> list[float]:
    """Sum over the cells of the log likelihood of each seed, left out, under its own candidate.

    What the published curve would score if it were one of our runs.
    """
    return [
        math.fsum(
            log_likelihood(c.seeds[i], np.delete(c.seeds, i, 0), c.steps, rho, noise) for c in cells
        )
        for i in range(min(len(cell.seeds) for cell in cells))
    ]


def recovered(cells: Mapping[tuple[float, str], Cell], rho: float, noise: Noise) -> np.ndarray:
    """(candidates, candidates): how many seeds of each row's σ the criterion gives to each column.

    Each seed is left out of its own σ and takes the published curve's place at every d. The share
    on the diagonal says how sharp the criterion is.
    """
    candidates = sorted({candidate for candidate, _ in cells})
    sizes = list(dict.fromkeys(size for _, size in cells))
    counts = np.zeros((len(candidates), len(candidates)), int)
    for row, own in enumerate(candidates):
        for i in range(len(cells[own, sizes[0]].seeds)):
            scores = []
            for other in candidates:
                total = 0.0
                for size in sizes:
                    cell = cells[other, size]
                    seeds = np.delete(cell.seeds, i, 0) if other == own else cell.seeds
                    curve = cells[own, size].seeds[i]
                    total += log_likelihood(curve, seeds, cell.steps, rho, noise)
                scores.append(total)
            counts[row, int(np.argmax(scores))] += 1
    return counts
