"""The post's ultra-small figures: d = 3 … 1,000 and D, for its conv and its FC net, 10 epochs.

Beside the published protocol stands one that starts from weights of N(0, 0.01²): the published
code, run as it stands, leaves the plateau later than the published curves do.
"""

from __future__ import annotations

import math

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from subspace_bench import published
from subspace_bench.experiments import trainings
from subspace_bench.experiments.accuracies import Rows
from subspace_bench.experiments.base import Evidence, Experiment, Page, Plan
from subspace_bench.experiments.curves import Curve, draw_curves, legend_title, stacked
from subspace_bench.runs import Run
from subspace_bench.statistics import POST_DRAWS, Published

EPOCHS = 10
TITLE = "Ultra-small subspaces: d = 3 … 1,000 and D, 10 epochs"
READING = 0.6  # ±0.3 points, read off the published figures
WIDER = "normal:0.01"  # twice the published initial scale
PROTOCOLS = (("conv", None), ("conv", WIDER), ("fc", None))
NATIVE = {"conv": 21_840, "fc": 199_210}
DIMS: tuple[int | None, ...] = (*trainings.SMALL, None)


def runs(plan: Plan) -> list[Run]:
    wanted = [trainings.post(m, d, EPOCHS, init) for m, init in protocols(plan) for d in DIMS]
    return plan.all_seeds(wanted)


def protocols(plan: Plan) -> list[tuple[str, str | None]]:
    """(net, initialisation) pairs of the plan: quick runs leave our own start out."""
    return [p for p in PROTOCOLS if p[1] is None or plan.profile != "quick"]


def published_curve(model: str, dim: int | None) -> tuple[list[float], list[float]] | None:
    """(steps, accuracies), NaN where the figure hides a point."""
    content = published.load("post")["ultra-small"]
    key = "D" if dim is None else f"d{dim}"
    curves = content["curves"][model]
    return (content["curves"]["steps"], curves[key]) if key in curves else None


def page(evidence: Evidence) -> Page:
    table = Rows(evidence)
    for model, init in protocols(evidence.plan):
        for dim in DIMS:
            run = trainings.post(model, dim, EPOCHS, init)
            value, printed = published_value(model, dim, evidence.scored_at(run), evidence.quick)
            labels = {
                "net": model,
                "θ_init": run.init.removeprefix("normal:"),
                "d": dim or NATIVE[model],
            }
            table.add(labels, run, value, printed)
    fit = fit_table(evidence)
    figures = {"ultra-small": lambda: draw(evidence, None)}
    if not evidence.quick:
        figures["ultra-small-wider-start"] = lambda: draw(evidence, WIDER)
    notes = [*table.chance(), *fit]
    summary = table.summary()
    return Page(TITLE, OPENING, table.frame(), table.data(), notes, summary, figures)


def published_value(
    model: str, dim: int | None, updates: int, quick: bool
) -> tuple[Published | None, str]:
    """The published accuracy: that of step 2,300, or of the curve at a quick run's last step."""
    if not quick:
        key = "D" if dim is None else f"d{dim}"
        value = published.load("post")["ultra-small"]["final"][model][key]
        return Published(value, READING, POST_DRAWS), f"{value:.1f}"
    found = published_curve(model, dim)
    if found is None or updates - 1 not in found[0]:
        return None, "—"
    value = found[1][found[0].index(updates - 1)]
    if math.isnan(value):
        return None, "hidden"
    return Published(value, READING, POST_DRAWS), f"{value:.1f}"


def distance(evidence: Evidence, run: Run, curve: tuple[list[float], list[float]]) -> float:
    """Root-mean-square gap, in points, between our mean curve and the published points shown."""
    records = evidence.reference(run)
    if not records:
        return math.nan
    updates, values = stacked(records)
    ours = dict(zip(updates.tolist(), values.mean(0).tolist(), strict=True))
    gaps = [
        ours[int(s) + 1] - v
        for s, v in zip(*curve, strict=True)
        if not math.isnan(v) and int(s) + 1 in ours
    ]
    return math.sqrt(math.fsum(g * g for g in gaps) / len(gaps)) if gaps else math.nan


def fit_table(evidence: Evidence) -> list[str]:
    """Which initial scale fits the published conv curves, by a number."""
    if evidence.quick or not evidence.comparable:
        return []
    lines = []
    for dim in DIMS:
        curve = published_curve("conv", dim)
        if curve is None:
            continue
        gaps = [distance(evidence, trainings.post("conv", dim, EPOCHS, i), curve)
                for i in (None, WIDER)]  # fmt: skip
        lines.append(
            {"d": f"{dim or NATIVE['conv']:,}", "0.005, as published": gaps[0], "0.01": gaps[1]}
        )
    gaps_frame = pd.DataFrame(lines)
    if gaps_frame.iloc[:, 1:].isna().any().any():
        return ["Which initial scale fits the published curves: not all runs are there yet."]
    wins = int((gaps_frame["0.01"] < gaps_frame["0.005, as published"]).sum())
    text = (
        "**Which start fits the published conv curves?** Root-mean-square gap in points between "
        "our mean curve over seeds and the points that the published figure shows. θ_init of "
        f"N(0, 0.01²) is nearer at {wins} of {len(lines)} dimensions."
    )
    return [text, gaps_frame.to_markdown(index=False, floatfmt=".1f", disable_numparse=[0])]


def draw(evidence: Evidence, init: str | None) -> Figure:
    """Conv (and FC, for the published start) curves over the published points."""
    nets = ("conv", "fc") if init is None else ("conv",)
    figure, all_axes = plt.subplots(
        1, len(nets), figsize=(1.6 + 4.6 * len(nets), 4.2), sharey=True, squeeze=False
    )
    for axes, model in zip(all_axes[0], nets, strict=True):
        curves = [
            Curve(
                f"{dim or NATIVE[model]:,}",
                trainings.post(model, dim, EPOCHS, init),
                published_curve(model, dim),
            )
            for dim in DIMS
        ]
        draw_curves(axes, curves, evidence)
        start = f", θ_init {init.removeprefix('normal:')}" if init else ""
        axes.set_title(f"{model}, D = {NATIVE[model]:,}{start}")
        axes.set_ylim(0, 100)
    handles, labels = all_axes[0][0].get_legend_handles_labels()
    labels = [label if label != f"{NATIVE['conv']:,}" else "D" for label in labels]
    title = f"d\n({legend_title(evidence)})"
    figure.legend(handles[::-1], labels[::-1], title=title, loc="outside right upper")
    return figure


OPENING = [
    "As the subspace table, for 10 epochs: 2,344 updates, scored after update 2,301 (the post's "
    "step 2,300). The published values are read off the post's figures, to ±0.3 points. *θ_init* "
    "is the standard deviation of the initial weights: the published code has 0.005 for the conv "
    "net; 0.01 is ours, to find out which start the published curves come from.",
]
EXPERIMENT = Experiment("ultra-small", TITLE, runs, page)
