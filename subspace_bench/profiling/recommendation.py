"""Recommends a projector for each (D, d).

A candidate is not significantly less accurate than the best projector, moves at least the fraction
MIN_NONZERO_ROWS of θ, and needs at most MAX_THETA_COPIES copies of θ or ALWAYS_ALLOWED_BYTES of
memory. The recommendation is the candidate with the fastest forward and transpose together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from subspace_bench.common.formatting import format_bytes, format_significant
from subspace_bench.profiling.derived import Row
from subspace_bench.reporting.statistics import Sample, difference, tukey_hsd

MAX_THETA_COPIES = 3  # copies of θ that P and its workspace may take
ALWAYS_ALLOWED_BYTES = 10_000_000  # acceptable for any θ, however small
SMALLEST_PEAK = 2_000_000  # bytes of a process, below which a peak is noise
MIN_NONZERO_ROWS = 0.85  # the least in the runs that compare accuracies

Accuracies = Mapping[tuple[str, int], Sample]  # (projector, d) → accuracies over seeds, in %


@dataclass(frozen=True)
class AccuracyComparison:
    """Accuracies of projectors at each d, compared with the best.

    Attributes:
        samples: d → projector → accuracies, for trained projectors, in the order of d.
        below_best: projector → every d at which its mean is significantly below the best.
    """

    samples: dict[int, dict[str, Sample]]
    below_best: dict[str, list[int]]

    @classmethod
    def of(cls, accuracies: Accuracies) -> AccuracyComparison:
        """Compares all pairs at each d with Tukey's HSD, 95%."""
        samples: dict[int, dict[str, Sample]] = {}
        for (name, dim), sample in sorted(accuracies.items(), key=lambda item: item[0][1]):
            if sample.n:
                samples.setdefault(dim, {})[name] = sample
        below: dict[str, list[int]] = {}
        for dim, group in samples.items():
            for higher, lower in tukey_hsd(group)[0]:
                if higher == best_of(group):
                    below.setdefault(lower, []).append(dim)
        return cls(samples, below)

    def points_from_best(self, name: str, dim: int) -> str:
        """Difference from the best projector in points (≤ 0) at a d of `samples`, 95% interval."""
        group = self.samples[dim]
        best = best_of(group)
        if name not in group:
            return "not measured"
        if name == best:
            return "best"
        interval = difference(group[name], group[best])
        half = f" ± {interval.half_width:.2f}" if interval else ""
        return f"{group[name].mean - group[best].mean:+z.2f}{half}"

    def at_nearest(self, name: str, dim: int) -> str:
        """`points_from_best` at the d of `samples` nearest to `dim`; "" if there are none."""
        if not self.samples:
            return ""
        nearest = min(self.samples, key=lambda d: abs(math.log(d / dim)))
        return f"{self.points_from_best(name, nearest)} (d = {nearest:,})"


def best_of(samples: Mapping[str, Sample]) -> str:
    """The projector with the highest mean."""
    return max(samples, key=lambda name: samples[name].mean)


@dataclass(frozen=True)
class Recommendation:
    """The candidates at one (D, d), fastest first; empty if no projector qualifies."""

    native: int
    dim: int
    candidates: list[Row]

    @property
    def projector(self) -> str:
        return str(self.candidates[0]["projector"]) if self.candidates else "none"


def recommend(measured: pd.DataFrame, accuracy: AccuracyComparison) -> list[Recommendation]:
    """The recommendation at each measured (D, d), by the rule above.

    A projector without accuracies can be a candidate.
    """
    fastest_first = measured.sort_values("ms", kind="stable")
    return [
        Recommendation(
            int(rows["native"].iloc[0]),
            int(rows["dim"].iloc[0]),
            [row for row in rows.to_dict("records") if not why_not(row, accuracy)],
        )
        for _, rows in fastest_first.groupby(["native", "dim"])
    ]


def why_not(row: Row, accuracy: AccuracyComparison) -> str:
    """Why a measured projector is no candidate at its (D, d); "" if it is one."""
    allowed = max(MAX_THETA_COPIES * row["theta_bytes"], ALWAYS_ALLOWED_BYTES)
    if row["projector"] in accuracy.below_best:
        return "significantly less accurate than the best"
    if not row["nonzero_rows"] >= MIN_NONZERO_ROWS:
        return f"moves only {row['nonzero_rows']:.0%} of θ"
    if not row["peak_bytes"] <= allowed:
        return f"needs more than {format_bytes(allowed)}"
    return ""


def recommendation_table(
    recommendations: list[Recommendation], accuracy: AccuracyComparison
) -> pd.DataFrame:
    """One row per (D, d): the recommendation, its cost and accuracy, and the runner-up."""

    def show(name: str, row: Row) -> str:
        return f"{name}{format_significant(row['ms'])} ms, {format_peak(row['peak_bytes'])}"

    return pd.DataFrame(
        {
            "D": f"{each.native:,}",
            "d": f"{each.dim:,}",
            "take": each.projector,
            "it takes": "".join(show("", row) for row in each.candidates[:1]),
            "accuracy − best, points": accuracy.at_nearest(each.projector, each.dim),
            "runner-up": "".join(show(f"{r['projector']}: ", r) for r in each.candidates[1:2]),
        }
        for each in recommendations
    )


def accuracy_table(accuracy: AccuracyComparison) -> pd.DataFrame:
    """One row per projector: difference from the best at each d, and where it is significant."""
    names = dict.fromkeys(name for group in accuracy.samples.values() for name in group)
    return pd.DataFrame(
        {
            "projector": name,
            **{f"d = {dim:,}": accuracy.points_from_best(name, dim) for dim in accuracy.samples},
            "below the best at": ", ".join(
                f"d = {dim:,}" for dim in accuracy.below_best.get(name, [])
            ),
        }
        for name in names
    )


def format_peak(count: float) -> str:
    """Peak bytes of a process, such as "33 MB"; below 2 MB chance decides."""
    return "< 2 MB" if count < SMALLEST_PEAK else format_bytes(count)
