"""Which initial σ fits the published ten-epoch curves: the published σ or a wider one?

The gap between a published curve y and our mean curve m is √(Σ (y_t − m_t)² / k), in percentage
points, over the k steps where the published figure shows a point. To measure the gap that arises by
chance, each of our seeds in turn takes the place of the published curve.
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
class PublishedCurve:
    """A published curve, and the runs that may have produced it.

    Attributes:
        size: d, or D for the full net.
        points: the published steps and accuracies.
        narrow, wide: runs with the published initial σ, and with the wider one if that was tried.
    """

    net: str
    size: int
    points: Points
    narrow: RunConfig
    wide: RunConfig | None = None


@dataclass(frozen=True)
class Fit:
    """Gaps of one published curve, in points.

    Attributes:
        narrow, wide: gap to the mean of our runs with each σ.
        chance_narrow, chance_wide: gap of each seed to the mean of the others, ascending.
        chance: the largest gain seen by chance: over all seeds with the narrow σ, the maximum of
            (gap to the mean of the other seeds) − (gap to the mean of the wide σ).
    """

    curve: PublishedCurve
    narrow: float
    chance_narrow: Sequence[float]
    wide: float = math.nan
    chance_wide: Sequence[float] = ()
    chance: float = math.nan

    @property
    def gain(self) -> float:
        """By how much the wider σ reduces the gap."""
        return self.narrow - self.wide


def measure_fit(curve: PublishedCurve, evidence: Evidence) -> Fit | None:
    """The gaps of a curve in the committed records; None if a σ has fewer than two seeds."""
    records = [evidence.committed(run) for run in (curve.narrow, curve.wide) if run is not None]
    if min(map(len, records)) < 2:
        return None
    target = {int(s): v for s, v in zip(*curve.points, strict=True) if not math.isnan(v)}
    (steps, narrow), *rest = [stacked(r) for r in records]
    at = [i for i, step in enumerate(steps) if step in target]
    post = np.array([target[int(steps[i])] for i in at])
    narrow = narrow[:, at]
    chance = leave_one_out(narrow)
    if not rest:
        return Fit(curve, rms(post - narrow.mean(0)), sorted(chance))
    wide = rest[0][1][:, at]
    to_wide = [rms(seed - wide.mean(0)) for seed in narrow]
    return Fit(
        curve, rms(post - narrow.mean(0)), sorted(chance),
        rms(post - wide.mean(0)), sorted(leave_one_out(wide)),
        max(to_others - to_mean for to_others, to_mean in zip(chance, to_wide, strict=True)),
    )  # fmt: skip


def leave_one_out(curves: np.ndarray) -> list[float]:
    """The gap of each of n curves, shape (n, k), to the mean of the others."""
    others = (curves.sum(0) - curves) / (len(curves) - 1)
    return [rms(gap) for gap in curves - others]


def rms(gap: np.ndarray) -> float:
    return float(np.sqrt(np.mean(gap**2)))


def table(curves: Sequence[PublishedCurve], evidence: Evidence, precision: float) -> pd.DataFrame:
    """The gaps of every curve whose runs are recorded.

    Arguments:
        precision: reading error of the published points, in points either way.
    """
    fits = [f for curve in curves if (f := measure_fit(curve, evidence)) is not None]
    return pd.DataFrame([_shown(f, precision) for f in fits], columns=COLUMNS)


def _shown(f: Fit, precision: float) -> dict[str, str]:
    cells = [f.curve.net, f"{f.curve.size:,}", f"{f.narrow:.1f}", _range(f.chance_narrow)]
    cells.append(_yes(f.narrow <= f.chance_narrow[-1] + precision))
    if f.curve.wide is None:
        cells += ["—"] * 5
    else:
        cells += [f"{f.wide:.1f}", _range(f.chance_wide)]
        cells.append(_yes(f.wide <= f.chance_wide[-1] + precision))
        cells += [f"{f.gain:.1f} ({f.chance:.1f})", _yes(f.gain > f.chance + precision)]
    return dict(zip(COLUMNS, cells, strict=True))


def _range(gaps: Sequence[float]) -> str:
    return f"{gaps[0]:.1f} to {gaps[-1]:.1f} (n = {len(gaps)})"


def _yes(condition: bool) -> str:
    return "yes" if condition else "no"


COLUMNS = [
    "net", "d", "gap, published σ", "single seeds", "fits",
    "gap, σ = 0.01", "single seeds, σ = 0.01", "fits, σ = 0.01", "gain (by chance)", "closer",
]  # fmt: skip
