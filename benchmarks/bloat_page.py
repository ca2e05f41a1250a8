"""The page results/bloat.md, from the trainings that `bloat` ran."""

from __future__ import annotations

import functools

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks.bloat_nets import TITLES
from benchmarks.intrinsic_dimension_page import enough, evaluate
from benchmarks.measurements import Measurements
from subspace_bench.common.formatting import format_significant
from subspace_bench.dimension.plan import Plan
from subspace_bench.dimension.result import IntrinsicDimension
from subspace_bench.reporting.figures import PageFigure
from subspace_bench.reporting.page import Page

NAME = "bloat"
COLUMNS = ["dataset", "net", "model", "d", "seed", "accuracy", "native", "seconds"]


def page(measurements: Measurements) -> Page:
    """The page results/bloat.md."""
    found = {
        str(dataset): [
            evaluate(group, Plan(), str(net))
            for net, group in rows.groupby("net", sort=False)
            if enough(group)
        ]
        for dataset, rows in measurements.numbers.groupby("dataset", sort=False)
    }
    first = next(iter(found.values()))
    bounded = sorted((r for r in first if r.bloat is not None), key=lambda r: r.bloat or 0)
    ends = (bounded[0], bounded[-1])
    named = [r for r in bounded if r in ends or r.name not in TITLES]
    summary = (
        "Parameters that a net has for each number it needs to reach 90% of its accuracy: "
        + ", ".join(f"{r.name} {format_significant(r.bloat or 0)}" for r in named)
    )
    figure = PageFigure(
        functools.partial(draw, found),
        "d_int over D; a line for each ratio D / d_int. Bars: 95% intervals",
    )
    return Page(
        NAME,
        "How many times too many parameters?",
        summary,
        {dataset: pd.DataFrame(map(row, results)) for dataset, results in found.items()},
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


def draw(found: dict[str, list[IntrinsicDimension]]) -> Figure:
    """d_int over D, both on log axes, with lines of equal D / d_int; names at the first dataset."""
    figure = Figure(figsize=(6.4, 4.4))
    axes = figure.subplots()
    for number, (dataset, results) in enumerate(found.items()):
        shown = sorted((r for r in results if r.dimension is not None), key=lambda r: r.native)
        shift = 1.06**number  # so that bars of one net stand side by side
        for result in shown:
            low, high = result.interval
            axes.loglog(
                [result.native * shift] * 2, [low, high or result.native], color=f"C{number}"
            )
        natives, dims = [r.native * shift for r in shown], [r.dimension or 0 for r in shown]
        axes.plot(natives, dims, "o", color=f"C{number}", ms=4, label=dataset)
        if not number:
            label(axes, shown)
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    for ratio in (10, 100, 1_000, 10_000):
        axes.plot([left, right], [left / ratio, right / ratio], color="0.8", lw=0.8, zorder=0)
        end = min(right, top * ratio)
        if end > left and end / ratio > bottom:
            axes.annotate(
                f"D / {ratio:,}", (end, end / ratio), color="0.5", fontsize=8,
                ha="right", va="top", textcoords="offset points", xytext=(-10, -2),
            )  # fmt: skip
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_xlabel("D, parameters of the net")
    axes.set_ylabel("d_int, numbers that would do")
    axes.legend(loc="lower left", fontsize=8)
    return figure


def label(axes: Axes, shown: list[IntrinsicDimension]) -> None:
    """Names of the nets; neighbours in D are labelled on different sides."""
    for index, result in enumerate(shown):
        side = 1 if index % 2 else -1
        axes.annotate(
            result.name.replace("tutorial-", ""), (result.native, result.dimension or 0),
            textcoords="offset points", xytext=(5 * side, 3), fontsize=8,
            ha="right" if side < 0 else "left",
        )  # fmt: skip
