"""Decides which initial σ made the post's ten-epoch conv figure, by `published/start.toml`.

The candidates share the author's own θ_init / σ and P, so that their runs differ from the published
ones in batches and dropout alone. Candidates that lack seeds leave the question open.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from subspace_bench.experiments import published
from subspace_bench.experiments.comparison_table import Points
from subspace_bench.experiments.sigma_likelihood import (
    Cell,
    Noise,
    best_rho,
    left_out,
    log_likelihood,
    make_cell,
    p_value,
    recovered,
    totals,
)
from subspace_bench.experiments.study import Evidence
from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Record
from subspace_bench.reporting.statistics import MIN_SEEDS, TOO_FEW
from subspace_bench.training import presets

EPOCHS = 10
Cells = dict[tuple[float, str], Cell]  # (σ, d) → cell


def criterion() -> dict[str, Any]:
    content: dict[str, Any] = published.load("start")["criterion"]
    return content


def candidates() -> list[float]:
    sigmas: list[float] = criterion()["sigmas"]
    return sigmas


def candidate_run(sigma: float, dim: int | None) -> RunConfig:
    """The conv net from the author's draws with an initial σ."""
    return presets.post("conv", dim, EPOCHS, f"normal:{sigma}", draws="author")


def noise() -> Noise:
    post = published.load("post")
    reading = post["ultra-small"]["reading"]["precision"]
    return Noise(criterion()["floor"], reading, post["scoring"]["draws"])


@dataclass(frozen=True)
class CurveFit:
    """A published curve beside our seeds: its log likelihood, and the p-value of its distance."""

    likelihood: float
    p: float

    @classmethod
    def of(cls, cell: Cell, rho: float) -> CurveFit:
        likelihood = log_likelihood(cell.published, cell.seeds, cell.steps, rho, noise())
        return cls(likelihood, p_value(cell, rho, noise()))


@dataclass(frozen=True)
class Decision:
    """What the criterion found.

    Attributes:
        points: d → number of published points.
        fits: (σ, d) → how well the published curve fits, for the cells with all seeds.
        sums: σ → sum over all d, for the candidates with all seeds at every d.
        rho: correlation of neighbouring scores.
        likely: the candidates within the margin of the most likely one, once every candidate has
            its seeds; until then empty.
        recovered: (σ, σ) how many of our own seeds of one the criterion gives to another; zero
            until then.
        own: σ → what our own seeds score in the published curve's place, each left out.
    """

    points: Mapping[str, int]
    fits: Mapping[tuple[float, str], CurveFit]
    sums: Mapping[float, float]
    rho: float
    likely: tuple[float, ...]
    recovered: np.ndarray
    own: Mapping[float, list[float]]

    @property
    def sigma(self) -> float | None:
        """The σ that made the figure; None if several may have, or the criterion is not sharp."""
        sharp = np.trace(self.recovered) >= criterion()["sharp"] * self.recovered.sum()
        return self.likely[0] if len(self.likely) == 1 and sharp else None


def decide(evidence: Evidence, curves: Mapping[int | None, Points]) -> Decision:
    """Applies the criterion to the committed records.

    Arguments:
        curves: d (None for D) → published points.
    """
    seeds, cells = criterion()["seeds"], Cells()
    for dim, points in curves.items():
        for sigma in candidates():
            records = evidence.committed(candidate_run(sigma, dim))[:seeds]  # "and no more"
            cell = make_cell(records, points) if len(records) == seeds else None
            if cell is not None:
                cells[sigma, size(dim)] = cell
    complete = [s for s in candidates() if all((s, size(d)) in cells for d in curves)]
    rho = best_rho(list(cells.values()), criterion()["rhos"], noise()) if cells else math.nan
    fits = {key: CurveFit.of(cell, rho) for key, cell in cells.items()}
    found = totals({key: fit.likelihood for key, fit in fits.items()})
    sums = {sigma: value for sigma, value in found.items() if sigma in complete}
    likely: tuple[float, ...] = ()
    counts = np.zeros((len(candidates()),) * 2, int)
    if len(complete) == len(candidates()):
        ranked = sorted(sums, key=lambda sigma: -sums[sigma])
        likely = tuple(s for s in ranked if sums[ranked[0]] - sums[s] < criterion()["margin"])
        counts = recovered(cells, rho, noise())
    own = {s: left_out([cells[s, size(d)] for d in curves], rho, noise()) for s in complete}
    points_of = {size(d): sum(not math.isnan(v) for v in c[1]) for d, c in curves.items()}
    return Decision(points_of, fits, sums, rho, likely, counts, own)


def size(dim: int | None) -> str:
    return "D" if dim is None else f"{dim:,}"


def table(decision: Decision) -> pd.DataFrame:
    """Log likelihoods for each d and together, and which candidates are within the margin."""
    rows = []
    for d, count in decision.points.items():
        fits = {s: fit for s in candidates() if (fit := decision.fits.get((s, d))) is not None}
        row = {"d": d, "points": f"{count}"}
        row |= {f"σ = {s}": show_fit(fits.get(s)) for s in candidates()}
        row["within the margin"] = show_close({s: fit.likelihood for s, fit in fits.items()})
        rows.append(row)
    sums = {f"σ = {s}": f"{v:z.1f}" for s, v in decision.sums.items()}
    total = {"d": "together", "points": f"{sum(decision.points.values())}", **sums}
    rows.append({**total, "within the margin": show_close(decision.sums)})
    return pd.DataFrame(rows).fillna(TOO_FEW)


def show_close(found: Mapping[float, float]) -> str:
    """The candidates whose log likelihood is within the margin of the largest."""
    best = max(found.values(), default=math.nan)
    close = [sigma for sigma, value in found.items() if best - value < criterion()["margin"]]
    return "all" if len(close) == len(candidates()) else ", ".join(map(str, close))


def curve_fit(records: Sequence[Record], points: Points, rho: float) -> CurveFit | None:
    """How well a published curve fits our runs; None for too few seeds."""
    cell = make_cell(records, points) if len(records) >= MIN_SEEDS else None
    return None if cell is None else CurveFit.of(cell, rho)


def show_fit(fit: CurveFit | None) -> str:
    """Log likelihood, and the p-value in brackets."""
    return TOO_FEW if fit is None else f"{fit.likelihood:z.1f} ({show_p(fit)})"


def show_p(fit: CurveFit | None) -> str:
    """The p-value as text."""
    if fit is None:
        return TOO_FEW
    if fit.p < 0.01:
        return "< 0.01"
    return f"{fit.p:.3f}" if fit.p < 0.1 else f"{fit.p:.2f}"


def show(decision: Decision) -> str:
    """Which σ made the conv figure, as a clause with the log likelihoods."""
    code = presets.protocols()["post"]["init"]["conv"].removeprefix("normal:")
    if not decision.likely:
        return "it is not decided yet which initial σ made the conv figure (too few seeds)"
    if decision.sigma is None:
        several = " or ".join(f"{s}" for s in decision.likely)
        return f"the conv figure may come from an initial σ of {several}"
    return (
        f"the conv figure comes from the author's own θ_init and P with an initial σ of "
        f"{decision.sigma} (log likelihood {decision.sums[decision.sigma]:.0f}; the published "
        f"code's {code}: {decision.sums[float(code)]:.0f})"
    )


def values(decision: Decision) -> dict[str, str]:
    """For templates: margin, sharpness, our own seeds' scores, and the σ that D alone allows."""
    counts = decision.recovered
    full = {s: fit.likelihood for (s, d), fit in decision.fits.items() if d == "D"}
    own = decision.own.get(decision.sigma or 0.0, [])
    return {
        "margin": f"{criterion()['margin']}",
        "full": show_close(full) or TOO_FEW,
        "recovered": f"{np.trace(counts)} of {counts.sum()}",
        "own": f"{min(own):.0f} to {max(own):.0f}" if own else TOO_FEW,
    }
