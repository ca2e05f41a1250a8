"""The page results/ablation.md, from the trainings of `ablation`."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from benchmarks.ablation_recipes import BASE, CHANGES, stored_bytes
from benchmarks.measurements import Measurements
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.statistics import Interval, Sample, difference

NAME = "ablation"
SHOWN = 100  # trained numbers, in the summary


def page(measurements: Measurements) -> Page:
    """The page results/ablation.md."""
    rows = measurements.numbers
    final = rows[rows["stage"] == "final"]
    there = [d for d in CHANGES if (final["d"] == d).any()]
    tables = {str(d): pd.DataFrame(_lines(final[final["d"] == d], d)) for d in there}
    losses = {
        change: sample(final, SHOWN, BASE).mean - sample(final, SHOWN, change).mean
        for change in CHANGES[SHOWN]
    }
    known = {change: loss for change, loss in losses.items() if not math.isnan(loss)}
    worst = sorted(known, key=lambda change: -abs(known[change]))[:3]
    reached = sample(final, SHOWN, BASE).mean
    lost = "; ".join(f"“{change}”, {-losses[change]:+.1f} points" for change in worst)
    summary = (
        f"{SHOWN} numbers reach {reached:.1f}% on held-out images. What changes that most: {lost}"
    )
    titles = {str(d): f"{d:,} numbers" for d in there}
    return Page(
        NAME,
        "What makes d numbers good?",
        summary,
        tables,
        measurements.text,
        {"facts": measurements.facts, "titles": titles},
        command="python -m benchmarks.ablation --rebuild",
    )


def sample(final: pd.DataFrame, d: int, change: str) -> Sample:
    """Held-out accuracies of a change, one for each seed."""
    found = final[(final["d"] == d) & (final["change"] == change)]
    return Sample(tuple(found["accuracy"]))


def _lines(final: pd.DataFrame, d: int) -> Iterator[dict[str, str]]:
    base = sample(final, d, BASE)
    for change in CHANGES[d]:
        found, own = sample(final, d, change), final[final["change"] == change]
        if own.empty:
            continue
        yield {
            "change": change,
            "accuracy, %": found.show(),
            "difference, points": "" if change == BASE else _signed(found, base),
            "bytes": f"{stored_bytes(CHANGES[d][change], d):,}",
            "peak rate": f"{own['rate'].iloc[0]:g}",
            "seconds": f"{own['seconds'].median():.0f}",
        }


def _signed(found: Sample, base: Sample) -> str:
    interval: Interval | None = difference(found, base)
    mean = _points(found.mean - base.mean)
    if interval is None:
        return mean
    return f"{mean} ({_points(interval.low)} to {_points(interval.high)})"


def _points(difference: float) -> str:
    """With a sign, and without a negative zero."""
    return f"{round(difference, 2) + 0.0:+.2f}"
