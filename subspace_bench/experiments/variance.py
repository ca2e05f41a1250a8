"""How much of the spread between runs is P and θ_init, and how much is batches and dropout?

With fresh draws everything varies between seeds: variance σ_T². With the author's draws, only
batches and dropout do: σ_B², at that one P and θ_init. The share of P and θ_init in the variance is
1 − σ_B² / σ_T². Normal accuracies have

    (s_B² / σ_B²) / (s_T² / σ_T²) ~ F(n_B − 1, n_T − 1),

an exact interval also at n = 3 (Snedecor and Cochran, "Statistical Methods", 1989). Over several
trainings with one common share, the mean of log(s_B² / s_T²) is close to normal, with the mean and
variance of log F (Bartlett and Kendall, 1946), where ψ and ψ' are digamma and trigamma:

    E log(χ²_ν / ν) = ψ(ν/2) − log(ν/2),   Var log(χ²_ν / ν) = ψ'(ν/2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import scipy  # its `stats`, which takes 0.7 s to import, when it is first used
from scipy import special

from subspace_bench.experiments.study import Evidence
from subspace_bench.records.config import RunConfig
from subspace_bench.reporting.statistics import LEVEL, TOO_FEW, Interval, Sample, t_quantile
from subspace_bench.training import presets

MIN = 3  # seeds on either side
HALF_WIDTHS = (0.1, 0.5)  # points
TAIL = (1 - LEVEL) / 2
SHARE = "share of P and θ_init"
# (net, initialisation, dimensions, epochs). Below d = 300 accuracies fall into two groups, whose
# variance says little.
TRAININGS: list[tuple[str, str | None, tuple[int | None, ...], int]] = [
    ("conv", None, (None, 10_000, 3_000, 1_000), 100),
    ("conv", None, (None, 1_000, 300), 10),
    ("conv", "normal:0.01", (None, 1_000, 300), 10),
    ("fc", None, (None, 1_000, 300), 10),
]


@dataclass(frozen=True)
class Spread:
    """Accuracies of one training: all varies in `total`, batches and dropout in `batches`."""

    label: str
    dim: int | None
    total: Sample
    batches: Sample

    @property
    def freedoms(self) -> tuple[int, int]:
        """Degrees of freedom of the two variances."""
        return self.batches.n - 1, self.total.n - 1

    @property
    def ratio(self) -> float:
        """s_B² / s_T²; NaN with too few seeds."""
        if min(self.batches.n, self.total.n) < MIN or not self.total.sd * self.batches.sd:
            return math.nan
        return (self.batches.sd / self.total.sd) ** 2


def runs(net: str, init: str | None, dim: int | None, epochs: int) -> tuple[RunConfig, RunConfig]:
    """A training with fresh draws, and with the author's."""
    fresh, author = (presets.post(net, dim, epochs, init, d) for d in ("streams", "author"))
    return fresh, author


def spreads(evidence: Evidence) -> list[Spread]:
    """The committed accuracies of every training."""
    found = []
    for net, init, dims, epochs in TRAININGS:
        for dim in dims:
            samples = [evidence.sample(run) for run in runs(net, init, dim, epochs)]
            sigma = f", σ = {init.removeprefix('normal:')}" if init else ""
            label = f"{epochs} epochs, {net}{sigma}, {f'd = {dim:,}' if dim else 'D'}"
            found.append(Spread(label, dim, *samples))
    return found


def record_names(evidence: Evidence) -> list[list[str]]:
    """The names of the records behind each training, in the order of `spreads`."""
    return [
        evidence.names(*runs(net, init, dim, epochs))
        for net, init, dims, epochs in TRAININGS
        for dim in dims
    ]


def ratio_interval(spread: Spread) -> Interval:
    """Exact 95% interval of σ_B² / σ_T² for normal accuracies."""
    batches, total = spread.freedoms
    return Interval(
        spread.ratio / float(scipy.stats.f.isf(TAIL, batches, total)),
        spread.ratio / float(scipy.stats.f.ppf(TAIL, batches, total)),
    )


def pooled_ratio(found: Sequence[Spread]) -> tuple[float, Interval]:
    """σ_B² / σ_T² and its 95% interval, if it is the same in all trainings.

    Takes the trainings as independent, although they share seeds and so batches: `mean_correlation`
    says how far that is true.
    """
    logs = [math.log(s.ratio) - log_bias(s.freedoms[0]) + log_bias(s.freedoms[1]) for s in found]
    variance = math.fsum(log_variance(f) for s in found for f in s.freedoms) / len(found) ** 2
    middle = math.fsum(logs) / len(logs)
    half = float(scipy.stats.norm.isf(TAIL)) * math.sqrt(variance)
    return math.exp(middle), Interval(math.exp(middle - half), math.exp(middle + half))


def log_bias(freedom: int) -> float:
    """Mean of log(χ²_ν / ν)."""
    return float(special.digamma(freedom / 2)) - math.log(freedom / 2)


def log_variance(freedom: int) -> float:
    """Variance of log(χ²_ν / ν)."""
    return float(special.polygamma(1, freedom / 2))


def mean_correlation(samples: Sequence[Sample]) -> float:
    """Mean correlation over seeds between all pairs of samples, over the seeds that both have."""
    found = [
        scipy.stats.pearsonr(a.values[:n], b.values[:n]).statistic
        for i, a in enumerate(samples)
        for b in samples[:i]
        if (n := min(a.n, b.n)) >= MIN and a.sd * b.sd
    ]
    return math.fsum(found) / len(found) if found else math.nan


def sd_interval(sample: Sample) -> Interval:
    """95% interval of a standard deviation, by χ²; n ≥ 2."""
    freedom = sample.n - 1
    return Interval(
        sample.sd * math.sqrt(freedom / float(scipy.stats.chi2.isf(TAIL, freedom))),
        sample.sd * math.sqrt(freedom / float(scipy.stats.chi2.ppf(TAIL, freedom))),
    )


def seeds_needed(sd: float, half_width: float) -> int:
    """The least n ≥ 2 with t(0.975, n − 1) · sd / √n ≤ half_width."""
    n = 2
    while t_quantile(n - 1) * sd / math.sqrt(n) > half_width:
        n += 1
    return n


def table(found: Sequence[Spread]) -> pd.DataFrame:
    """One row for each training, and one for all subspaces together."""
    rows = []
    for s in found:
        row = {"training": s.label, "sd, fresh draws": _sd(s.total)}
        row |= {"sd, author's draws": _sd(s.batches)}
        known = not math.isnan(s.ratio)
        row[SHARE] = show_share(s.ratio, ratio_interval(s)) if known else TOO_FEW
        for half in HALF_WIDTHS:
            enough = s.total.n >= MIN
            row[f"seeds for ± {half}"] = f"{seeds_needed(s.total.sd, half):,}" if enough else ""
        rows.append(row)
    pooled = [s for s in found if s.dim is not None and not math.isnan(s.ratio)]
    share = show_share(*pooled_ratio(pooled)) if pooled else TOO_FEW
    rows.append({"training": f"{len(pooled)} subspaces together", SHARE: share})
    return pd.DataFrame(rows).fillna("")


def _sd(sample: Sample) -> str:
    if sample.n < 2:
        return TOO_FEW if sample.n else "not run"
    interval = sd_interval(sample)
    return f"{sample.sd:.2f} [{interval.low:.2f}, {interval.high:.2f}] (n = {sample.n})"


def show_share(ratio: float, interval: Interval) -> str:
    """The share of P and θ_init with its interval; not below 0, since fresh draws add variance."""
    share, low, high = (max(1 - r, 0.0) for r in (ratio, interval.high, interval.low))
    return f"{share:.0%} [{low:.0%}, {high:.0%}]"
