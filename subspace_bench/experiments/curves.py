"""Figures of accuracy over training: our mean and all seeds over the published points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes

from subspace_bench.experiments.accuracies import Points
from subspace_bench.experiments.base import Evidence
from subspace_bench.runs import Record, Run


@dataclass(frozen=True)
class Curve:
    """One line of a figure, and the published points that belong to it."""

    label: str
    run: Run
    published: Points | None = None


def draw_curves(axes: Axes, curves: Sequence[Curve], evidence: Evidence) -> None:
    """Each curve in its colour: mean over seeds as a line, all seeds as a band, the post as dots.

    The reader's own runs stand where there are any, the reference elsewhere.
    """
    shades = colormaps["plasma"](np.linspace(0.0, 0.85, max(len(curves), 2)))
    for curve, colour in zip(curves, shades, strict=False):
        records = evidence.own(curve.run)
        if not records and not evidence.quick:
            records = evidence.reference(curve.run)
        if curve.published is not None and evidence.comparable:
            axes.plot(*curve.published, "o", color=colour, ms=3.5, mec="k", mew=0.4)
        label = curve.label
        if records:
            steps, values = stacked(records)
            label += f" (n = {len(records)})"
            # The post's step i is scored after update i + 1.
            axes.plot(steps - 1, values.mean(0), color=colour, lw=1.8)
            axes.fill_between(
                steps - 1, values.min(0), values.max(0), color=colour, alpha=0.18, lw=0
            )
        elif curve.published is None:
            continue
        axes.plot([], [], color=colour, lw=1.8, label=label)
    axes.plot([], [], "o", color="0.6", ms=3.5, mec="k", mew=0.4, label="the post")
    axes.fill_between([], [], color="0.6", alpha=0.3, lw=0, label="all seeds")
    axes.set_xlabel("step")
    axes.set_ylabel("test accuracy, %")
    axes.margins(x=0.01)
    handles, labels = axes.get_legend_handles_labels()
    order = [*range(len(handles) - 3, -1, -1), len(handles) - 2, len(handles) - 1]
    axes.legend(
        [handles[i] for i in order], [labels[i] for i in order],
        loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8,
    )  # fmt: skip


def stacked(records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray]:
    """(updates (k,), accuracies (n, k)) where all records were scored."""
    curves = [{row[0]: row[1] for row in r.result["curve"]} for r in records]
    shared = sorted(set.intersection(*(set(c) for c in curves)))
    return np.array(shared), np.array([[c[u] for u in shared] for c in curves])
