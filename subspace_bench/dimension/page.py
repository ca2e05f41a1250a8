"""The page of measured tasks: one row and one figure a task."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from subspace_bench.dimension.result import IntrinsicDimension
from subspace_bench.reporting.figures import PageFigure
from subspace_bench.reporting.page import Page


def page(results: Sequence[IntrinsicDimension], command: str) -> Page:
    """The page `dimension`: what each task needs, and how its score depends on d.

    Arguments:
        command: the shell command that makes the page again.
    """
    rows = pd.DataFrame([result.row() for result in results])
    trainings = pd.concat(
        [result.curve.assign(task=result.name, native=result.native) for result in results]
    )
    return Page(
        "dimension",
        "How many parameters does it need?",
        str(results[0]) if len(results) == 1 else summarize(results),
        tables={"dimensions": rows},
        data=trainings,
        figures={f"dimension-{r.name}": figure_of(r) for r in results},
        notices=[f"{r.name}: {notice}" for r in results for notice in r.notices],
        command=command,
    )


def summarize(results: Sequence[IntrinsicDimension]) -> str:
    """The range of d_int over several tasks."""
    known = sorted((r.dimension, r.name) for r in results if r.dimension is not None)
    if not known:
        return f"None of {len(results)} tasks reaches its target in a subspace"
    (least, first), (most, last) = known[0], known[-1]
    return (
        f"{len(known)} of {len(results)} tasks reach their target: from {least:,} numbers "
        f"({first}) to {most:,} ({last})"
    )


def figure_of(result: IntrinsicDimension) -> PageFigure:
    caption = (
        f"{result.name}: score over the trained numbers d, fitted curve (band: ± 2 standard "
        "errors), baseline, target, and d_int with its 95% interval"
    )
    return PageFigure(functools.partial(draw, result), caption)


def draw(result: IntrinsicDimension) -> Figure:
    figure = Figure(figsize=(6.4, 4))
    result.plot(figure.subplots())
    return figure
