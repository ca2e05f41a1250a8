"""Which start fits the published ten-epoch curves: the published one, or a wider one of ours.

By root-mean-square gaps, in points, at the steps where the published figure shows a point. What
chance gives is taken from our own seeds, each in turn held against the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from subspace_bench.experiments.comparison_table import Points
from subspace_bench.experiments.curves import stacked
from subspace_bench.experiments.study import Evidence
from subspace_bench.records.config import RunConfig


@dataclass(frozen=True)
class Case:
    """A published curve, and the runs that may have made it.

    Attributes:
        narrow, wide: from the published start, and from the wider one where that was tried.
    """

    net: str
    size: str
    curve: Points
    narrow: RunConfig
    wide: RunConfig | None = None


@dataclass(frozen=True)
class Fit:
    """Gaps of one published curve, in points.

    Attributes:
        narrow, wide: to the mean of each start.
        chance_narrow, chance_wide: of single seeds of a start to its other seeds, least to most.
        chance: the most that the wider start's mean is nearer to a seed of the published start.
    """

    case: Case
    narrow: float
    chance_narrow: Sequence[float]
    wide: float = math.nan
    chance_wide: Sequence[float] = ()
    chance: float = math.nan

    @property
    def nearer(self) -> float:
        """By how much the wider start's mean is nearer to the published points."""
        return self.narrow - self.wide


def fit(case: Case, evidence: Evidence) -> Fit | None:
    """The gaps of a case from the reference; None where a start has fewer than two seeds."""
    records = [evidence.reference(run) for run in (case.narrow, case.wide) if run is not None]
    if min(map(len, records)) < 2:
        return None
    target = {int(s): v for s, v in zip(*case.curve, strict=True) if not math.isnan(v)}
    (steps, narrow), *rest = [stacked(r) for r in records]
    at = [i for i, step in enumerate(steps) if step in target]
    post = np.array([target[int(steps[i])] for i in at])
    narrow = narrow[:, at]
    chance = left_out(narrow)
    if not rest:
        return Fit(case, rms(post - narrow.mean(0)), sorted(chance))
    wide = rest[0][1][:, at]
    to_wide = [rms(seed - wide.mean(0)) for seed in narrow]
    return Fit(
        case, rms(post - narrow.mean(0)), sorted(chance),
        rms(post - wide.mean(0)), sorted(left_out(wide)),
        max(own - other for own, other in zip(chance, to_wide, strict=True)),
    )  # fmt: skip


def left_out(curves: np.ndarray) -> list[float]:
    """Of curves (n, k), the gap of each to the mean of the others."""
    others = (curves.sum(0) - curves) / (len(curves) - 1)
    return [rms(gap) for gap in curves - others]


def rms(gap: np.ndarray) -> float:
    return float(np.sqrt(np.mean(gap**2)))


def section(cases: Sequence[Case], evidence: Evidence, precision: float) -> list[str]:
    """The part of the page: what was measured, what it shows, and the numbers.

    Arguments:
        precision: reading error of the published points, in points either way.
    """
    found = [fit(case, evidence) for case in cases]
    fits = [f for f in found if f is not None]
    if len(fits) < len(cases):
        return ["Which start fits the published curves: not all runs are there yet."]
    tried = [f for f in fits if f.case.wide is not None]
    nearer = [f for f in tried if f.nearer > f.chance + precision]
    good = [f for f in nearer if f.wide <= f.chance_wide[-1] + precision]
    off = [f for f in fits if f.narrow > f.chance_narrow[-1] + precision]
    gains = ", ".join(f"{f.case.size} ({f.nearer:.1f} of {f.narrow:.1f})" for f in nearer)
    shown = (
        f"From the published start, further off than any single seed and the reading error: "
        f"{sizes(off)}. From N(0, 0.01²) nearer by more than chance gives: d = {gains or 'none'}; "
        f"of these, no further off than a single seed of its own: {sizes(good)}. At the other d "
        "the numbers do not tell the two starts apart."
    )
    return [HOW, shown, table(fits).to_markdown(index=False, disable_numparse=True)]


def sizes(fits: Sequence[Fit]) -> str:
    return ", ".join(f"{f.case.net} d = {f.case.size}" for f in fits) or "none"


def table(fits: Sequence[Fit]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "net": f.case.net,
            "d": f.case.size,
            "published start": f"{f.narrow:.1f}",
            "its single seeds": spread(f.chance_narrow),
            "0.01": f"{f.wide:.1f}" if f.case.wide else "—",
            "single seeds of 0.01": spread(f.chance_wide),
            "nearer by (chance)": f"{f.nearer:.1f} ({f.chance:.1f})" if f.case.wide else "—",
        }
        for f in fits
    )


def spread(gaps: Sequence[float]) -> str:
    return f"{gaps[0]:.1f} to {gaps[-1]:.1f} (n = {len(gaps)})" if gaps else "—"


HOW = (
    "**Which start fits the published curves?** Root-mean-square gap, in points, between the "
    "reference's mean curve and the points that the published figure shows. *Single seeds*: each "
    "of our seeds against the mean of the others, least to most, which is what one more run of the "
    "same training gives by chance. *Nearer by*: how much nearer the wider start's mean is to the "
    "published points than the published start's; in brackets, the most that it is to a seed of "
    "the published start itself. FC was trained from the published start alone."
)
