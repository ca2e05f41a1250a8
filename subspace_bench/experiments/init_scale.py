"""Which initial σ fits the published ten-epoch curves: the published one, or a wider one.

The gap between a published curve y and our mean curve m is √(Σ (y_t − m_t)² / k), in percentage
points, over the k steps where the published figure shows a point. The gap that chance alone gives
is measured on our own seeds: each in turn takes the place of the published curve.
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
    """A published curve, and the runs that may have produced it.

    Attributes:
        size: d, or D for the full net.
        narrow, wide: with the published initial σ, and with the wider one if that was tried.
    """

    net: str
    size: int
    curve: Points
    narrow: RunConfig
    wide: RunConfig | None = None


@dataclass(frozen=True)
class Fit:
    """Gaps of one published curve, in points.

    Attributes:
        narrow, wide: to the mean of our runs with each σ.
        chance_narrow, chance_wide: of each single seed to the mean of the others, ascending.
        chance: the largest gain seen by chance: of all seeds with the narrow σ, the most that one
            is closer to the wide σ's mean than to its own other seeds.
    """

    case: Case
    narrow: float
    chance_narrow: Sequence[float]
    wide: float = math.nan
    chance_wide: Sequence[float] = ()
    chance: float = math.nan

    @property
    def gain(self) -> float:
        """How much smaller the gap is with the wider σ."""
        return self.narrow - self.wide


def fit(case: Case, evidence: Evidence) -> Fit | None:
    """The gaps of a case in the committed records; None if a σ has fewer than two seeds."""
    records = [evidence.committed(run) for run in (case.narrow, case.wide) if run is not None]
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
        max(to_others - to_mean for to_others, to_mean in zip(chance, to_wide, strict=True)),
    )  # fmt: skip


def left_out(curves: np.ndarray) -> list[float]:
    """The gap of each of n curves, shape (n, k), to the mean of the others."""
    others = (curves.sum(0) - curves) / (len(curves) - 1)
    return [rms(gap) for gap in curves - others]


def rms(gap: np.ndarray) -> float:
    return float(np.sqrt(np.mean(gap**2)))


def table(cases: Sequence[Case], evidence: Evidence, precision: float) -> pd.DataFrame:
    """The gaps of every case whose runs are recorded.

    Arguments:
        precision: reading error of the published points, in points either way.
    """
    fits = [f for case in cases if (f := fit(case, evidence)) is not None]
    return pd.DataFrame([_shown(f, precision) for f in fits], columns=COLUMNS)


def _shown(f: Fit, precision: float) -> dict[str, str]:
    cells = [f.case.net, f"{f.case.size:,}", f"{f.narrow:.1f}", _range(f.chance_narrow)]
    cells.append(_yes(f.narrow <= f.chance_narrow[-1] + precision))
    if f.case.wide is None:
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
