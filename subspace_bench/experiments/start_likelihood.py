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
from scipy import stats

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
    n = len(seeds)
    mean, sd = seeds.mean(0), spread(seeds, steps, noise.floor)
    distance = np.abs(steps[:, None] - steps[None, :]) / STEPS_APART
    share = np.clip(mean / 100, 0, 1)
    error = noise.reading**2 / 3 + share * (1 - share) * 1e4 / noise.draws
    sigma = (1 + 1 / n) * np.outer(sd, sd) * rho**distance + np.diag(error)
    return float(stats.multivariate_t.logpdf(curve, mean, sigma, df=n - 1))


def spread(seeds: np.ndarray, steps: np.ndarray, floor: float) -> np.ndarray:
    """(k,) standard deviations over seeds; variances are averaged over a step and its neighbours.

    Five seeds give a rough variance at a single step, and zero where all sit on the plateau.
    """
    variance = seeds.var(0, ddof=1)
    near = np.abs(steps[:, None] - steps[None, :]) <= STEPS_APART
    smoothed: np.ndarray = np.sqrt(np.maximum(near @ variance / near.sum(1), floor**2))
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


def log_likelihoods(
    cells: Mapping[tuple[float, str], Cell], rho: float, noise: Noise
) -> dict[tuple[float, str], float]:
    """(candidate, d) → log likelihood of the published curve of that d under that candidate."""
    return {
        key: log_likelihood(cell.published, cell.seeds, cell.steps, rho, noise)
        for key, cell in cells.items()
    }


def totals(found: Mapping[tuple[float, str], float]) -> dict[float, float]:
    """candidate → sum over all d."""
    sums: dict[float, float] = {}
    for (candidate, _), value in found.items():
        sums[candidate] = sums.get(candidate, 0.0) + value
    return sums


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
