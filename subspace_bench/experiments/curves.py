"""Figures of accuracy over training: our mean and band over the published points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes

from subspace_bench.experiments.base import Evidence
from subspace_bench.runs import Record, Run


@dataclass(frozen=True)
class Curve:
    """One line of a figure.

    Attributes:
        published: (steps, accuracies in %), NaN where the published figure hides a point.
    """

    label: str
    run: Run
    published: tuple[Sequence[float], Sequence[float]] | None = None


def draw_curves(axes: Axes, curves: Sequence[Curve], evidence: Evidence) -> None:
    """Each curve in its colour: mean over seeds as a line, all seeds as a band, the post as dots.

    The reader's own runs stand where there are any, the reference elsewhere.
    """
    shades = colormaps["turbo"](np.linspace(0.05, 0.92, max(len(curves), 2)))
    for curve, colour in zip(curves, shades, strict=False):
        records = evidence.own(curve.run) or (
            [] if evidence.quick else evidence.reference(curve.run)
        )
        if records:
            steps, values = stacked(records)
            # The post's step i is scored after update i + 1.
            axes.plot(steps - 1, values.mean(0), color=colour, label=curve.label, lw=1.5)
            if len(records) > 1:
                low, high = values.min(0), values.max(0)
                axes.fill_between(steps - 1, low, high, color=colour, alpha=0.2, lw=0)
        if curve.published is not None and evidence.comparable:
            label = None if records else curve.label
            axes.plot(*curve.published, "o", color=colour, ms=3, mec="k", mew=0.4, label=label)
    axes.set_xlabel("step")
    axes.set_ylabel("test accuracy, %")
    axes.margins(x=0.01)


def stacked(records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray]:
    """(updates (k,), accuracies (n, k)) where all records were scored."""
    curves = [{row[0]: row[1] for row in r.result["curve"]} for r in records]
    shared = sorted(set.intersection(*(set(c) for c in curves)))
    return np.array(shared), np.array([[c[u] for u in shared] for c in curves])


def legend_title(evidence: Evidence) -> str:
    """What the line styles of a figure mean."""
    return "line, band: ours\ndots: the post" if evidence.comparable else "MNIST-5k"
