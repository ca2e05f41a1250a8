"""The page results/bloat.md, from the trainings that `bloat` ran."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.bloat_nets import TITLES
from benchmarks.intrinsic_dimension_page import enough, evaluate
from benchmarks.measurements import Measurements
from subspace_bench.common.formatting import format_significant
from subspace_bench.dimension.plan import Plan
from subspace_bench.dimension.result import IntrinsicDimension
from subspace_bench.reporting.figures import PageFigure
from subspace_bench.reporting.page import Page

NAME = "bloat"
COLUMNS = ["net", "model", "d", "seed", "accuracy", "native", "seconds"]


def page(measurements: Measurements) -> Page:
    """The page results/bloat.md."""
    rows = measurements.numbers
    found = [
        evaluate(group, Plan(), str(net))
        for net, group in rows.groupby("net", sort=False)
        if enough(group)
    ]
    bounded = [result for result in found if result.bloat is not None]
    low, high = (sorted(bounded, key=lambda r: r.bloat or 0)[i] for i in (0, -1))
    summary = (
        f"Of {len(found)} nets on {int(measurements.facts['images']):,} images, "
        f"{low.name} has {format_significant(low.bloat or 0)} times as many "
        f"parameters as would do, {high.name} {format_significant(high.bloat or 0)} times"
    )
    figure = PageFigure(
        functools.partial(draw, found),
        "d_int over D; a line for each ratio D / d_int. Bars: 95% intervals",
    )
    return Page(
        NAME,
        "How many times too many parameters?",
        summary,
        {"nets": pd.DataFrame(map(row, found))},
        measurements.text,
        {"facts": measurements.facts},
        figures={NAME: figure},
        command="python -m benchmarks.bloat --rebuild",
    )


def row(result: IntrinsicDimension) -> dict[str, str]:
    """A line of the table."""
    shown = result.row()
    return {
        "net": result.name,
        "from": TITLES.get(result.name, ""),
        "D": shown["D"],
        "accuracy at D, %": shown["baseline"],
        "target, %": shown["target"],
        "d_int": shown["d_int"],
        "95% interval": shown["95% interval"],
        "D / d_int": shown["D / d_int"],
        "trainings": shown["trainings"],
    }


def draw(found: list[IntrinsicDimension]) -> Figure:
    """d_int over D, both on log axes, with lines of equal D / d_int."""
    figure = Figure(figsize=(6.4, 4.4))
    axes = figure.subplots()
    natives = np.array([result.native for result in found])
    ends = np.array([natives.min() / 2, natives.max() * 3])
    for ratio in (10, 100, 1_000, 10_000):
        axes.loglog(ends, ends / ratio, color="0.8", lw=0.8, zorder=0)
        axes.annotate(f"{ratio:,}", (ends[1], ends[1] / ratio), color="0.5", fontsize=8)
    for result in found:
        if result.dimension is None:
            continue
        low, high = result.interval
        axes.plot([result.native] * 2, [low, high or result.native], color="C0", lw=1.2)
        axes.plot(result.native, result.dimension, "o", color="C0", ms=4)
        axes.annotate(
            result.name.replace("tutorial-", ""), (result.native, result.dimension),
            textcoords="offset points", xytext=(5, 3), fontsize=8,
        )  # fmt: skip
    values = [result.estimate.low for result in found]
    axes.set_ylim(min(values) / 2, max(values) * 6)
    axes.set_xlabel("D, parameters of the net")
    axes.set_ylabel("d_int, numbers that would do")
    return figure
