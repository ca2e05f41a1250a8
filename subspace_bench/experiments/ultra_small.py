"""The post's ultra-small figures: d = 3 … 1,000 and D, for its conv and its FC net, 10 epochs.

Beside the published protocol stands one that starts from weights of N(0, 0.01²): the published
code, run as it stands, leaves the plateau later than the published curves do.
"""

from __future__ import annotations

from typing import Any

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from subspace_bench.experiments import published
from subspace_bench.experiments.comparison_table import ComparisonTable, Points, draws, read_off
from subspace_bench.experiments.curves import Curve, draw_curves
from subspace_bench.experiments.init_scale import Case, section
from subspace_bench.experiments.legacy_page import Page
from subspace_bench.experiments.study import Evidence, Plan, Study
from subspace_bench.records.config import RunConfig
from subspace_bench.reporting.statistics import Published
from subspace_bench.training import presets

EPOCHS = 10
TITLE = "Ultra-small subspaces: d = 3 … 1,000 and D, 10 epochs"
WIDER = "normal:0.01"  # twice the published initial scale
PROTOCOLS = (("conv", None), ("fc", None), ("conv", WIDER))
DIMS: tuple[int | None, ...] = (*presets.SMALL, None)


def content() -> dict[str, Any]:
    found: dict[str, Any] = published.load("post")["ultra-small"]
    return found


def precision() -> float:
    """How well the published figures can be read, in points either way."""
    return float(content()["reading"]["precision"])


def runs(plan: Plan) -> list[RunConfig]:
    wanted = [presets.post(m, d, EPOCHS, init) for m, init in protocols(plan) for d in DIMS]
    return plan.all_seeds(wanted)


def protocols(plan: Plan) -> list[tuple[str, str | None]]:
    """(net, initialisation) pairs of the plan: quick runs leave our own start out."""
    return [p for p in PROTOCOLS if p[1] is None or plan.profile != "quick"]


def published_curve(model: str, dim: int | None) -> Points | None:
    """(steps, accuracies), NaN where the figure hides a point; None where it has no such curve."""
    key = "D" if dim is None else f"d{dim}"
    curves = content()["curves"]
    return (curves["steps"], curves[model][key]) if key in curves[model] else None


def published_end(model: str, dim: int | None) -> tuple[Published, str]:
    """The published accuracy: that of step 2,300, or for D the one that the caption prints."""
    if dim is None:
        value = content()["caption"][model]
        return Published(value, 0.01, draws()), f"{value:.2f}"
    value = content()["final"][model][f"d{dim}"]
    return Published(value, 2 * precision(), draws()), f"{value:.1f}"


def page(evidence: Evidence) -> Page:
    table = ComparisonTable(evidence)
    for model, init in protocols(evidence.plan):
        for dim in DIMS:
            run = presets.post(model, dim, EPOCHS, init)
            if evidence.plan.cut(run) is None:
                continue
            value: Published | None
            value, printed = published_end(model, dim)
            if evidence.quick:
                curve = published_curve(model, dim)
                value, printed = read_off(curve, evidence.scored_at(run), precision())
            start = run.init.removeprefix("normal:").replace(",", ", ")
            labels = {"net": model, "σ of θ_init": start, "d": dim or presets.native(model)}
            table.add(labels, run, value, printed, judged=init is None)
    figures = {"ultra-small": lambda: draw(evidence, None)}
    notes = table.chance()
    if not evidence.quick:
        figures["ultra-small-wider-start"] = lambda: draw(evidence, WIDER)
        notes += [SPREAD, *fits(evidence)]
    opening = QUICK if evidence.quick else OPENING
    return Page(TITLE, opening, table.frame(), table.data(), notes, table.summary(), figures)


def fits(evidence: Evidence) -> list[str]:
    """Which start fits the published curves, conv and FC, by numbers."""
    if not evidence.comparable:
        return []
    cases = []
    for model in ("conv", "fc"):
        for dim in DIMS:
            curve = published_curve(model, dim)
            if curve is None:
                continue
            starts = [presets.post(m, dim, EPOCHS, s) for m, s in PROTOCOLS if m == model]
            cases.append(Case(model, f"{dim or presets.native(model):,}", curve, *starts))
    return section(cases, evidence, precision())


def draw(evidence: Evidence, init: str | None) -> Figure:
    """Conv (and FC, for the published start) curves over the published points."""
    nets = ("conv", "fc") if init is None else ("conv",)
    figure, all_axes = plt.subplots(
        1, len(nets), figsize=(1.2 + 5.4 * len(nets), 4.2), sharey=True, squeeze=False
    )
    for axes, model in zip(all_axes[0], nets, strict=True):
        curves = [
            Curve(
                f"d = {dim:,}" if dim else "D",
                presets.post(model, dim, EPOCHS, init),
                published_curve(model, dim),
            )
            for dim in DIMS
        ]
        draw_curves(axes, curves, evidence)
        start = f", θ_init of N(0, {init.removeprefix('normal:')}²)" if init else ""
        axes.set_title(f"{model}, D = {presets.native(model):,}{start}")
        axes.set_ylim(0, 100)
    for axes in all_axes[0][1:]:
        axes.set_ylabel("")
    return figure


def lengths() -> tuple[int, int]:
    """Updates of a run, and those before its last score."""
    protocol = presets.post("conv", None, EPOCHS).protocol
    return protocol.steps, protocol.last_score


OPENING = [
    "As the subspace table, for 10 epochs: {:,} updates, scored after update {:,}. ".format(
        *lengths()
    )
    + "The published values are read off the post's figures, to ±0.3 points; those of D are "
    "printed in the captions. *σ of θ_init*: standard deviation of the initial weights, layer by "
    "layer where they differ. The last rows are not the published protocol and get no verdict: "
    "they ask which start the published conv curves come from.",
]
QUICK = [
    "Fewer updates, held against the post's figures at the same step; *hidden*: no point there."
]
SPREAD = (
    "At small d a run of the conv net either leaves the plateau near 10% within these updates or "
    "does not, so that accuracies over seeds fall into two groups: there the intervals, which "
    "take them for normal, are rough. The csv has the least and the most of all seeds."
)
STUDY = Study("ultra-small", TITLE, runs, page)
