"""Figures of accuracy over training: our records, published points, and local records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from subspace_bench.experiments.comparison_table import Points
from subspace_bench.experiments.study import Evidence
from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Record

DOT: dict[str, Any] = {"marker": "o", "ms": 3.5, "mec": "k", "mew": 0.4, "ls": ""}
LOCAL: dict[str, Any] = {"ls": (0, (4, 1.5)), "lw": 1.4}


@dataclass(frozen=True)
class Curve:
    """One line of a figure, and the published points that belong to it."""

    label: str
    run: RunConfig
    published: Points | None = None


def draw_curves(
    axes: Axes, curves: Sequence[Curve], evidence: Evidence, counts: bool = True
) -> None:
    """Draws each curve in one colour.

    A line shows our mean, a band all our seeds, a dashed line the mean of local runs, and dots the
    post's points. Curves end where the plan's runs end, which is earlier in a quick run.

    Arguments:
        counts: whether the legend shows the number of seeds.
    """
    shades = colormaps["plasma"](np.linspace(0.0, 0.85, max(len(curves), 2)))
    lines, has_local = [], False
    for curve, colour in zip(curves, shades, strict=False):
        adapted = evidence.plan.adapt(curve.run)
        if adapted is None:
            continue
        end = adapted.protocol.steps
        if curve.published is not None and evidence.comparable:
            shown = [(s, v) for s, v in zip(*curve.published, strict=True) if s < end]
            axes.plot(*zip(*shown, strict=True), color=colour, **DOT)
        ours, local = evidence.committed(curve.run), evidence.local(curve.run)
        if ours:
            steps, values = stacked(ours, end)
            axes.plot(steps, values.mean(0), color=colour, lw=1.8)
            axes.fill_between(steps, values.min(0), values.max(0), color=colour, alpha=0.18, lw=0)
        if local:
            steps, values = stacked(local, end)
            axes.plot(steps, values.mean(0), color=colour, **LOCAL)
            has_local = True
        seeds = [f"n = {len(ours)}"] * bool(ours) + [f"{len(local)} local"] * bool(local)
        if seeds or curve.published is not None:
            label = f"{curve.label} ({', '.join(seeds)})" if seeds and counts else curve.label
            lines.append(Line2D([], [], color=colour, lw=1.8, label=label))
    axes.set_xlabel("step")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylabel("test accuracy, %")
    axes.margins(x=0.01)
    handles = [*reversed(lines), Line2D([], [], color="0.6", label="the post", **DOT),
               Patch(color="0.6", alpha=0.3, lw=0, label="ours, all seeds")]  # fmt: skip
    if has_local:
        handles.append(Line2D([], [], color="0.4", label="local, mean", **LOCAL))
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)


def stacked(records: Sequence[Record], end: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The steps, shape (k,), at which all records were scored, and their accuracies, (n, k).

    Steps are numbered as in the post, whose step i ends with update i + 1.

    Arguments:
        end: last update to include.
    """
    curves = [{row[0]: row[1] for row in r.result["curve"]} for r in records]
    shared = sorted(u for u in set.intersection(*map(set, curves)) if end is None or u <= end)
    return np.array(shared) - 1, np.array([[c[u] for u in shared] for c in curves])
