"""Where a noisy, increasing score crosses a target: a Gaussian process over x = log d.

    y = f(x) + ε,   f(x) = β₀ + β₁ x + g(x),   g ~ GP(0, σ² r exp(−(x − x')² / 2ℓ²)),   ε ~ N(0, σ²)

Under flat priors on β and log σ, f(x) has a Student t posterior with n − 2 degrees of freedom
(Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning", section 2.7). ℓ and r are
averaged over a small grid, weighted by their marginal likelihoods.

f increases, so P(crossing ≤ x) = P(f(x) ≥ target). Quantiles of this distribution are the estimate,
the interval, and the next d to try.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.floating]

LENGTHS = (0.7, 1.5, 3.0, 6.0)  # ℓ, in units of log d: a factor of 2 to 400 in d
RATIOS = (1.0, 10.0, 100.0, 1_000.0)  # r; r = 0, a straight line, is one more case
GRID = 121  # points of x; quantiles are interpolated between them
NEGLIGIBLE = 1e-4  # posterior weights below this are left out


@dataclass(frozen=True)
class Target:
    """The score that d_int must reach.

    Attributes:
        score: higher is better.
        error: its standard error, if it comes from the baseline; else 0.
        freedom: degrees of freedom of this error.
    """

    score: float
    error: float = 0.0
    freedom: int = 1


@dataclass(frozen=True)
class _Posterior:
    """The posterior under one (ℓ, r)."""

    length: float
    ratio: float
    whitening: Array  # L⁻¹ of V = I + r K = L Lᵀ, (n, n)
    whitened_trend: Array  # L⁻¹ H, (n, 2)
    trend: Array  # β, (2,)
    whitened_residual: Array  # L⁻¹ (y − H β), (n,)
    precision: Array  # Hᵀ V⁻¹ H, (2, 2)
    variance: float  # of ε, estimated
    log_evidence: float


class CrossingModel:
    """The posterior of the x at which f reaches a target.

    Arguments:
        x: (n,), log d of the trainings, n ≥ 3, not all equal.
        y: (n,), their scores; higher is better.
    """

    def __init__(self, x: Sequence[float], y: Sequence[float]) -> None:
        self.x, self.y = np.asarray(x, float), np.asarray(y, float)
        self.freedom = len(self.x) - 2
        # A length scale that straightens g makes r irrelevant, so the line counts as one length.
        cases = [(LENGTHS[0], 0.0), *((length, r) for length in LENGTHS for r in RATIOS)]
        posteriors = [self._condition(length, ratio) for length, ratio in cases]
        evidence = np.array([p.log_evidence for p in posteriors])
        evidence[0] += np.log(len(RATIOS))
        weights = np.exp(evidence - evidence.max())
        weights /= weights.sum()
        self._mixture = [(w, p) for w, p in zip(weights, posteriors, strict=True) if w > NEGLIGIBLE]

    def _condition(self, length: float, ratio: float) -> _Posterior:
        x, y = self.x, self.y
        trend_basis = _trend_basis(x, x.mean())
        covariance = np.eye(len(x)) + ratio * _kernel(x, x, length)
        # n is small: L⁻¹ costs less than threads of LAPACK at every use, and V is well conditioned.
        whitening = np.linalg.inv(np.linalg.cholesky(covariance))
        basis, scores = whitening @ trend_basis, whitening @ y
        precision = basis.T @ basis
        trend = np.linalg.solve(precision, basis.T @ scores)
        residual = scores - basis @ trend
        squares = max(float(residual @ residual), 1e-12 * max(1.0, float(y @ y)))
        log_evidence = (
            np.log(np.diag(whitening)).sum()
            - 0.5 * np.linalg.slogdet(precision)[1]
            - 0.5 * self.freedom * np.log(squares)
        )
        return _Posterior(
            length, ratio, whitening, basis, trend, residual, precision,
            squares / self.freedom, float(log_evidence),
        )  # fmt: skip

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of f at each x, without noise."""
        return self._mix(x)

    def _mix(self, x: Array, derivative: bool = False) -> tuple[Array, Array]:
        moments = (self._moments(p, x, derivative) for _, p in self._mixture)
        means, variances = zip(*moments, strict=True)
        weights = np.array([w for w, _ in self._mixture])
        weights /= weights.sum()
        mean = weights @ np.stack(means)
        spread = weights @ (np.stack(variances) + (np.stack(means) - mean) ** 2)
        return mean, np.sqrt(spread)

    def probability(self, x: Array, target: Target) -> Array:
        """P(f(x) ≥ target) at each x.

        The difference of two t distributions is taken for a t with the degrees of freedom of Welch
        and Satterthwaite.
        """
        total, error = np.zeros(len(x)), target.error**2
        for weight, posterior in self._mixture:
            mean, variance = self._moments(posterior, x)
            variance = np.maximum(variance, 1e-18)
            freedom = (variance + error) ** 2 / (
                variance**2 / self.freedom + error**2 / target.freedom
            )
            z = (mean - target.score) / np.sqrt(variance + error)
            total += weight * special.stdtr(freedom, z)
        return total

    def slope(self, x: float) -> tuple[float, float, int]:
        """f′ at x: its mean, standard deviation and degrees of freedom."""
        mean, spread = self._mix(np.array([x]), derivative=True)
        return float(mean[0]), float(spread[0]), self.freedom

    def _moments(self, p: _Posterior, x: Array, derivative: bool = False) -> tuple[Array, Array]:
        """Mean and variance of f, or of f′, at each x."""
        kernel, basis = _kernel(self.x, x, p.length), _trend_basis(x, self.x.mean())
        prior = p.ratio
        if derivative:
            kernel = kernel * (self.x[:, None] - x) / p.length**2
            basis = np.tile([0.0, 1.0], (len(x), 1))
            prior = p.ratio / p.length**2
        cross = p.whitening @ (p.ratio * kernel)
        mean = basis @ p.trend + cross.T @ p.whitened_residual
        gap = basis - cross.T @ p.whitened_trend
        factor = prior - (cross**2).sum(0) + (gap * np.linalg.solve(p.precision, gap.T).T).sum(1)
        return mean, np.maximum(factor, 0.0) * p.variance

    def quantiles(self, levels: Sequence[float], upper: float, target: Target) -> list[float]:
        """Quantiles of the crossing, in x: 0 … `upper`; −inf or inf if it lies outside."""
        low, high = 0.0, upper
        for _ in range(2):  # the second grid has only the cells of the first that hold quantiles
            grid = np.linspace(low, high, GRID)
            below = monotone(self.probability(grid, target))
            first = int(np.searchsorted(below, min(*levels, 0.5)))
            last = int(np.searchsorted(below, max(*levels, 0.5)))
            low, high = grid[max(first - 1, 0)], grid[min(last, GRID - 1)]
        return [_quantile(level, below, grid) for level in levels]


def monotone(p: Array) -> Array:
    """P(f(x) ≥ target) under the assumption that f increases.

    Away from the data p tends to one half, but f increases: left of the crossing the probability is
    at most the least one between, right of it at least the largest.
    """
    first = int(np.flatnonzero(p < 0.5)[-1]) + 1 if (p < 0.5).any() else 0
    left = np.minimum.accumulate(p[:first][::-1])[::-1]
    return np.concatenate([left, np.maximum.accumulate(p[first:])])


def _quantile(level: float, below: Array, grid: Array) -> float:
    if below[-1] < level:
        return float("inf")
    return float("-inf") if below[0] >= level else float(np.interp(level, below, grid))


def _trend_basis(x: Array, center: float) -> Array:
    return np.stack([np.ones(len(x)), x - center], axis=1)


def _kernel(a: Array, b: Array, length: float) -> Array:
    gap = (a[:, None] - b) / length
    return np.exp(-0.5 * gap**2)
