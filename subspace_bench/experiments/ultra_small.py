"""The post's ultra-small figures: d = 3 … 1,000 and D, for its conv and its FC net, 10 epochs.

The page also shows the protocol with twice the initial σ, because the published code, run
unchanged, leaves the plateau later than the published curves do.
"""

from __future__ import annotations

from typing import Any

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from subspace_bench.experiments import init_scale, published
from subspace_bench.experiments.comparison_table import (
    ComparisonTable,
    Points,
    drawn_images,
    published_point,
)
from subspace_bench.experiments.curves import Curve, draw_curves
from subspace_bench.experiments.study import Evidence, Plan, Study, make_page
from subspace_bench.records.config import RunConfig
from subspace_bench.reporting.page import Page, PageFigure
from subspace_bench.reporting.statistics import Published
from subspace_bench.training import presets

EPOCHS = 10
TITLE = "Ultra-small subspaces: d = 3 to 1,000, 10 epochs"
WIDER = "normal:0.01"  # twice the published initial scale
PROTOCOLS = (("conv", None), ("fc", None), ("conv", WIDER))
DIMS: tuple[int | None, ...] = (*presets.SMALL, None)


def content() -> dict[str, Any]:
    figures: dict[str, Any] = published.load("post")["ultra-small"]
    return figures


def precision() -> float:
    """Reading error of the published figures, in points either way."""
    return float(content()["reading"]["precision"])


def cases(plan: Plan) -> list[RunConfig]:
    runs = [presets.post(m, d, EPOCHS, init) for m, init in protocols(plan) for d in DIMS]
    return plan.expand(runs)


def protocols(plan: Plan) -> list[tuple[str, str | None]]:
    """(net, initialisation) pairs of the plan: quick runs omit the wider σ."""
    return [p for p in PROTOCOLS if p[1] is None or plan.profile != "quick"]


def published_curve(model: str, dim: int | None) -> Points | None:
    """(steps, accuracies), NaN where the figure hides a point; None if it lacks this curve."""
    key = "D" if dim is None else f"d{dim}"
    curves = content()["curves"]
    return (curves["steps"], curves[model][key]) if key in curves[model] else None


def published_end(model: str, dim: int | None) -> tuple[Published, str]:
    """The published accuracy: at step 2,300, or for D the one in the caption."""
    if dim is None:
        value = content()["caption"][model]
        return Published(value, 0.01, drawn_images()), f"{value:.2f}"
    value = content()["final"][model][f"d{dim}"]
    return Published(value, 2 * precision(), drawn_images()), f"{value:.1f}"


def page(evidence: Evidence) -> Page:
    table = ComparisonTable(evidence)
    for model, init in protocols(evidence.plan):
        for dim in DIMS:
            run = presets.post(model, dim, EPOCHS, init)
            if evidence.plan.adapt(run) is None:
                continue
            value: Published | None
            value, printed = published_end(model, dim)
            if evidence.quick:
                curve = published_curve(model, dim)
                value, printed = published_point(curve, evidence.scored_at(run), precision())
            sigma, size = run.init.removeprefix("normal:"), dim or presets.native(model)
            labels = {"net": model, "σ of θ_init": sigma.replace(",", ", "), "d": size}
            name = f"{model} at d = {dim:,}" if dim else f"{model} at D"
            table.add(name, labels, run, value, printed, judged=init is None)
    tables, values = {"accuracies": table.frame()}, table.values()
    values["above"] = values_above_all_seeds(evidence)
    figures = {
        "ultra-small": PageFigure(
            lambda: draw(evidence, None),
            "Test accuracy over 10 epochs, conv and FC: our mean (line) and all seeds (band), and "
            "the post's points (dots)",
        )
    }
    if not evidence.quick:
        figures["ultra-small-wider-start"] = PageFigure(
            lambda: draw(evidence, WIDER),
            "The conv net with initial σ = 0.01 instead of 0.005, and the same points of the post",
        )
        if evidence.comparable:
            fits = init_scale.table(curves_to_fit(), evidence, precision())
            tables["init_scale"] = fits
            values["closer"] = list(fits[fits["closer"] == "yes"]["d"])
    values["length"] = evidence.protocol(presets.post("conv", None, EPOCHS))
    return make_page(
        STUDY,
        evidence,
        table.summary(),
        tables=tables,
        data=table.data(),
        values=values,
        figures=figures,
    )


def values_above_all_seeds(evidence: Evidence) -> list[str]:
    """The d whose published conv accuracy lies above every one of our seeds, rounding included."""
    found = []
    for dim in DIMS:
        value, _ = published_end("conv", dim)
        sample = evidence.sample(presets.post("conv", dim, EPOCHS), local=False)
        if sample.n and value.value - value.rounding / 2 > max(sample.values):
            found.append(f"{dim:,}" if dim else "D")
    return found


def curves_to_fit() -> list[init_scale.PublishedCurve]:
    """Every published curve, with the runs of each initial σ that may fit it."""
    return [
        init_scale.PublishedCurve(
            model,
            dim or presets.native(model),
            curve,
            *(presets.post(m, dim, EPOCHS, init) for m, init in PROTOCOLS if m == model),
        )
        for model in ("conv", "fc")
        for dim in DIMS
        if (curve := published_curve(model, dim)) is not None
    ]


def draw(evidence: Evidence, init: str | None) -> Figure:
    """Curves of conv (and of FC, for the published σ) over the published points."""
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


STUDY = Study("ultra-small", TITLE, cases, page, order=40)
