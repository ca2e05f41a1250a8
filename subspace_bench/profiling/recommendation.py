"""Which projector to take at each (D, d): the rule, and the table it gives.

Of the projectors that are not shown to be less accurate than the best, that move at least
MOVED of θ and that need at most COPIES of it (or SMALL bytes), the fastest both ways.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from subspace_bench.common.formatting import format_bytes, format_significant
from subspace_bench.profiling.lookup import Measurements, Row
from subspace_bench.reporting.statistics import Sample, difference, tukey_hsd

COPIES = 3  # of θ that P and its workspace may take
SMALL = 10_000_000  # bytes that nobody minds, however small θ is
MOVED = 0.85  # least fraction of θ that P moved in the trainings that compare accuracies

Accuracies = Mapping[tuple[str, int], Sample]  # (projector, d) → accuracies over seeds, in %


@dataclass(frozen=True)
class Recommendation:
    """The candidates at one (D, d), fastest first; none where every projector breaks the rule."""

    native: int
    dim: int
    candidates: list[Row]

    @property
    def projector(self) -> str:
        return str(self.candidates[0]["projector"]) if self.candidates else "none"


def recommend(measurements: Measurements, accuracies: Accuracies) -> list[Recommendation]:
    """The recommendation at each measured (D, d), by the rule above.

    A projector without accuracies is a candidate: nothing is shown against it.
    """
    excluded = inferior(accuracies)
    return [
        Recommendation(
            *size,
            [
                row
                for row in measurements.fastest_first(size)
                if row["projector"] not in excluded
                and row["nonzero_rows"] >= MOVED
                and row["peak_bytes"] <= max(COPIES * row["theta_bytes"], SMALL)
            ],
        )
        for size in measurements.sizes
    ]


def inferior(accuracies: Accuracies) -> dict[str, list[int]]:
    """Projector → the d at which its mean accuracy is shown to be below the best (Tukey's HSD)."""
    found: dict[str, list[int]] = {}
    for dim, samples in by_dim(accuracies).items():
        best = best_of(samples)
        for higher, lower in tukey_hsd(samples)[0]:
            if higher == best:
                found.setdefault(lower, []).append(dim)
    return found


def by_dim(accuracies: Accuracies) -> dict[int, dict[str, Sample]]:
    """d → projector → accuracies, without those that were not run; d in order."""
    groups: dict[int, dict[str, Sample]] = {}
    for (name, dim), sample in sorted(accuracies.items(), key=lambda item: item[0][1]):
        if sample.n:
            groups.setdefault(dim, {})[name] = sample
    return groups


def best_of(samples: Mapping[str, Sample]) -> str:
    return max(samples, key=lambda name: samples[name].mean)


def points_from_best(samples: Mapping[str, Sample], name: str) -> str:
    """Points of accuracy that a projector gains over the best (≤ 0), with the 95% interval."""
    if name not in samples:
        return "not measured"
    best = best_of(samples)
    if name == best:
        return "best"
    interval = difference(samples[name], samples[best])
    half = f" ± {interval.half_width:.2f}" if interval else ""
    return f"{samples[name].mean - samples[best].mean:+.2f}{half}"


def recommendation_table(found: list[Recommendation], accuracies: Accuracies) -> pd.DataFrame:
    """One line a (D, d): what to take, what it costs, what it loses, and the runner-up."""
    groups = by_dim(accuracies)
    lines = []
    for each in found:
        line = {"D": f"{each.native:,}", "d": f"{each.dim:,}", "take": each.projector}
        costs = [
            (f"{format_significant(r['ms'])} ms", format_bytes(r["peak_bytes"]), r["projector"])
            for r in each.candidates[:2]
        ]
        costs += [("", "", "")] * (2 - len(costs))
        (line["time"], line["memory"], _), second = costs
        if groups:
            dim = min(groups, key=lambda known: abs(math.log(known / each.dim)))
            line["accuracy − best, points"] = (
                f"{points_from_best(groups[dim], each.projector)} (d = {dim:,})"
            )
        line["runner-up"] = f"{second[2]}: {second[0]}, {second[1]}" if second[2] else ""
        lines.append(line)
    return pd.DataFrame(lines)


def accuracy_table(accuracies: Accuracies) -> pd.DataFrame:
    """One line a projector: points from the best at each d, and whether it is a candidate."""
    groups, excluded = by_dim(accuracies), inferior(accuracies)
    names = dict.fromkeys(name for name, _ in accuracies)
    return pd.DataFrame(
        {
            "projector": name,
            **{f"d = {dim:,}": points_from_best(group, name) for dim, group in groups.items()},
            "below the best at": ", ".join(f"d = {dim:,}" for dim in excluded.get(name, [])),
        }
        for name in names
        if any(name in group for group in groups.values())
    )
