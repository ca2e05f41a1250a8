"""The page results/bloat.md, from the trainings that `bloat` ran."""

from __future__ import annotations

import functools

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
    shown = sorted((r for r in found if r.dimension is not None), key=lambda r: r.native)
    left, right = shown[0].native / 2, shown[-1].native * 2
    values = [end for r in shown for end in (*r.interval, r.dimension) if end is not None]
    bottom, top = min(values) / 2, max(values) * 2
    for ratio in (10, 100, 1_000, 10_000):
        axes.loglog([left, right], [left / ratio, right / ratio], color="0.8", lw=0.8, zorder=0)
        start = max(left, bottom * ratio)
        if start < right and start / ratio < top:
            axes.annotate(
                f"D / {ratio:,}", (start, start / ratio), color="0.5", fontsize=8,
                textcoords="offset points", xytext=(3, 8),
            )  # fmt: skip
    for index, result in enumerate(shown):
        low, high = result.interval
        axes.plot([result.native] * 2, [low, high or result.native], color="C0", lw=1.2)
        axes.plot(result.native, result.dimension or 0, "o", color="C0", ms=4)
        side = 1 if index % 2 else -1  # neighbours in D are labelled on different sides
        axes.annotate(
            result.name.replace("tutorial-", ""), (result.native, result.dimension or 0),
            textcoords="offset points", xytext=(5 * side, 3), fontsize=8,
            ha="right" if side < 0 else "left",
        )  # fmt: skip
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_xlabel("D, parameters of the net")
    axes.set_ylabel("d_int, numbers that would do")
    return figure
