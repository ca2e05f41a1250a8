"""The post's ultra-small figures: d = 3 … 1,000 and D, for its conv and its FC net, 10 epochs.

Each net starts from the author's own θ_init and P, and from fresh ones. For the conv net there are
two initial σ: that of the published code, and the one that fits its figure (`initial_sigma`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from subspace_bench.experiments import initial_sigma, published
from subspace_bench.experiments.comparison_table import (
    Comparison,
    ComparisonTable,
    Points,
    chance_values,
    drawn_images,
    published_point,
    reproduction,
    show_missed,
)
from subspace_bench.experiments.curves import Curve, draw_curves
from subspace_bench.experiments.initial_sigma import CurveFit, Decision, curve_fit, show_fit
from subspace_bench.experiments.study import Evidence, Plan, Study, make_page
from subspace_bench.records.config import RunConfig
from subspace_bench.reporting.figures import PageFigure
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.statistics import REPRODUCES, TOO_FEW, Published
from subspace_bench.training import presets

EPOCHS = initial_sigma.EPOCHS
TITLE = "Ultra-small subspaces: d = 3 to 1,000, 10 epochs"
DIMS: tuple[int | None, ...] = (*presets.SMALL, None)


@dataclass(frozen=True)
class Start:
    """Where a net starts.

    Attributes:
        label: column of the table of its net.
        verdict: column of its verdicts.
        init: initialisation; None for the published one.
        draws: whose θ_init and P: "author" or "streams" (fresh ones for every seed).
    """

    net: str
    label: str
    verdict: str
    init: str | None
    draws: str

    def run(self, dim: int | None) -> RunConfig:
        return presets.post(self.net, dim, EPOCHS, self.init, self.draws)


CONV = Start("conv", "author's draws, σ = 0.01", "verdict", "normal:0.01", "author")
CONV_CODE = Start("conv", "author's draws, σ = 0.005", "verdict, σ = 0.005", None, "author")
CONV_FRESH = Start("conv", "fresh draws, σ = 0.005", "verdict, fresh draws", None, "streams")
CONV_WIDE = Start("conv", "fresh draws, σ = 0.01", "", "normal:0.01", "streams")
FC = Start("fc", "author's draws", "verdict", None, "author")
FC_FRESH = Start("fc", "fresh draws", "verdict, fresh draws", None, "streams")
SHOWN = (CONV, CONV_CODE, CONV_FRESH, FC, FC_FRESH)


Fits = dict[tuple[Start, int | None], CurveFit]


def content() -> dict[str, Any]:
    figures: dict[str, Any] = published.load("post")["ultra-small"]
    return figures


def precision() -> float:
    """Reading error of the published figures, in points either way."""
    return float(content()["reading"]["precision"])


def starts(plan: Plan) -> Sequence[Start]:
    """Quick runs use one start for each net, `post` adds the published code's σ."""
    if plan.profile == "quick":
        return (CONV, FC_FRESH)
    return (CONV, CONV_CODE, FC_FRESH) if plan.profile == "post" else (*SHOWN, CONV_WIDE)


def cases(plan: Plan) -> list[RunConfig]:
    runs = [start.run(d) for start in starts(plan) for d in DIMS]
    if plan.profile == "full":
        sigmas = initial_sigma.candidates()
        runs += [initial_sigma.candidate_run(sigma, d) for sigma in sigmas for d in DIMS]
    return plan.expand(runs)


def published_curve(model: str, dim: int | None) -> Points | None:
    """(steps, accuracies), NaN where the figure hides a point; None if it lacks this curve."""
    key = "D" if dim is None else f"d{dim}"
    curves = content()["curves"]
    return (curves["steps"], curves[model][key]) if key in curves[model] else None


def published_points(model: str) -> dict[int | None, Points]:
    """d → the published curve, or its last point where the figure hides the rest."""
    last = content()["curves"]["steps"][-1:]
    return {
        dim: published_curve(model, dim) or (last, [content()["final"][model][f"d{dim}"]])
        for dim in DIMS
    }


def published_end(model: str, dim: int | None) -> tuple[Published, str]:
    """The published accuracy: at step 2,300, or for D the one in the caption."""
    if dim is None:
        value = content()["caption"][model]
        return Published(value, 0.01, drawn_images()), f"{value:.2f}"
    value = content()["final"][model][f"d{dim}"]
    return Published(value, 2 * precision(), drawn_images()), f"{value:.1f}"


def page(evidence: Evidence) -> Page:
    figures = {
        "ultra-small": PageFigure(partial(draw, evidence, "conv"), CAPTION.format("conv")),
        "ultra-small-fc": PageFigure(partial(draw, evidence, "fc"), CAPTION.format("FC")),
    }
    values: dict[str, Any] = {"length": evidence.protocol(CONV.run(None))}
    if evidence.quick or not evidence.comparable:
        table = compare(evidence, starts(evidence.plan), starts(evidence.plan))
        tables, summary = {"accuracies": table.frame()}, table.summary()
        records = {"accuracies": table.records}
    else:
        decision = initial_sigma.decide(evidence, published_points("conv"))
        fits = fit_curves(evidence, decision.rho)
        main = (CONV, fc_start(fits))
        table = compare(evidence, SHOWN, main)
        frame, summary = table.frame(), summarize(table.comparisons, decision)
        tables = {"local": frame[frame["local"] != ""]} if "local" in frame else {}
        trained = [i for i, cell in enumerate(frame.get("local", ())) if cell]
        records = {"local": [table.records[i] for i in trained]}
        for net in ("conv", "fc"):
            runs = [[s.run(d) for s in SHOWN if s.net == net] for d in DIMS]
            records[net] = [evidence.names(*row) for row in runs]
        sigmas = initial_sigma.candidates()
        runs = [[initial_sigma.candidate_run(sigma, d) for sigma in sigmas] for d in DIMS]
        records["likelihoods"] = [evidence.names(*row) for row in runs]
        tables |= {net: side_by_side(frame, net) for net in ("conv", "fc")}
        tables["likelihoods"] = initial_sigma.table(decision)
        tables["likelihoods"][CONV_WIDE.label] = fit_column(fits, CONV_WIDE)
        tables["fc"] = pd.concat(
            [tables["fc"], pd.DataFrame([{"d": "together"}])], ignore_index=True
        ).fillna("")
        for start in (FC, FC_FRESH):
            tables["fc"][f"log likelihood, {start.label}"] = fit_column(fits, start)
        values["decision"] = initial_sigma.values(decision)
        values["conv_figure"] = conv_figure(frame, decision)
        values["fc_main"] = main[1].label
        values["humps"] = humps(evidence)
        curves = [(s, d) for s in main for d in DIMS if published_curve(s.net, d) is not None]
        values["fits"] = [fits.get(key) for key in curves]
    values |= {"comparisons": table.comparisons} | chance_values(table.comparisons)
    return make_page(
        STUDY,
        evidence,
        summary,
        tables=tables,
        data=table.data(),
        values=values,
        figures=figures,
        records=records,
    )


def compare(evidence: Evidence, rows: Sequence[Start], main: Sequence[Start]) -> ComparisonTable:
    """A row for each start and d; the verdicts of the `main` starts are those that count."""
    table = ComparisonTable(evidence)
    for start in rows:
        for dim in DIMS:
            run = start.run(dim)
            if evidence.plan.adapt(run) is None:
                continue
            value: Published | None
            value, printed = published_end(start.net, dim)
            if evidence.quick:
                curve = published_curve(start.net, dim)
                value, printed = published_point(curve, evidence.scored_at(run), precision())
            size = dim or presets.native(start.net)
            labels = {"net": start.net, "start": start.label, "d": size}
            name = f"{start.net} at d = {dim:,}" if dim else f"{start.net} at D"
            table.add(name, labels, run, value, printed, extra=start not in main)
    return table


def fc_start(fits: Fits) -> Start:
    """The start of the FC net's verdicts: the author's draws if they made its figure.

    `published/start.toml` has the rule.
    """
    sums = {}
    for start in (FC, FC_FRESH):
        found = [fits.get((start, dim)) for dim in DIMS]
        sums[start] = sum(-math.inf if fit is None else fit.likelihood for fit in found)
    return FC if sums[FC] - sums[FC_FRESH] >= initial_sigma.criterion()["margin"] else FC_FRESH


def side_by_side(frame: pd.DataFrame, net: str) -> pd.DataFrame:
    """The rows of one net, one d each, with the accuracies and verdicts of every start."""
    columns: dict[str, Any] = {}
    for start in SHOWN:
        if start.net == net:
            rows = frame[(frame["net"] == net) & (frame["start"] == start.label)]
            columns |= {"d": list(rows["d"]), "post": list(rows["post"])}
            columns |= {start.label: list(rows["ours"]), start.verdict: list(rows["verdict"])}
    return pd.DataFrame(columns)


def fit_curves(evidence: Evidence, rho: float) -> Fits:
    """How well each published curve fits the committed runs of each start."""
    fits: Fits = {}
    for start in (CONV, CONV_WIDE, FC, FC_FRESH):
        for dim, points in published_points(start.net).items():
            fit = curve_fit(evidence.committed(start.run(dim)), points, rho)
            if fit is not None:
                fits[start, dim] = fit
    return fits


def fit_column(fits: Fits, start: Start) -> list[str]:
    """The log likelihood and p-value at each d, and the sum of the log likelihoods."""
    found = [fits.get((start, dim)) for dim in DIMS]
    total = sum(math.nan if fit is None else fit.likelihood for fit in found)
    return [*map(show_fit, found), TOO_FEW if math.isnan(total) else f"{total:z.1f}"]


def summarize(main: Sequence[Comparison], decision: Decision) -> str:
    """What reproduces, and which σ made the conv figure."""
    text = reproduction([c.verdict for c in main])
    if missed := show_missed(main):
        text += f": {missed}"
    return f"{text}; {initial_sigma.show(decision)}"


def conv_figure(frame: pd.DataFrame, decision: Decision) -> str:
    """Which σ made the figure, and how many of its numbers reproduce with it and without."""
    count = {}
    for start in (CONV, CONV_CODE):
        verdicts = list(frame[frame["start"] == start.label]["verdict"])
        count[start] = verdicts.count(REPRODUCES)
    return (
        f"{initial_sigma.show(decision)}, and of its {len(DIMS)} final accuracies "
        f"{count[CONV]} reproduce with σ = 0.01, {count[CONV_CODE]} with σ = 0.005"
    )


def humps(evidence: Evidence) -> list[dict[str, Any]]:
    """The published curves' rise and fall at d = 3 and 10, beside the means of ours."""
    rows = []
    for hump in content()["humps"]:
        means = []
        for start in (CONV, CONV_CODE, CONV_WIDE):
            sample = evidence.sample(start.run(hump["d"]), updates=hump["step"] + 1)
            means.append(f"{sample.mean:.1f}" if sample.n else "not run")
        rows.append({**hump, "means": means})
    return rows


def draw(evidence: Evidence, net: str) -> Figure:
    """Curves from every start of a net, side by side, over the published points."""
    shown = starts(evidence.plan) if evidence.quick else SHOWN
    panels = [start for start in shown if start.net == net]
    figure, all_axes = plt.subplots(
        1, len(panels), figsize=(1.4 + 3.4 * len(panels), 4.0), sharey=True, squeeze=False
    )
    for axes, start in zip(all_axes[0], panels, strict=True):
        labels = {dim: f"d = {dim:,}" if dim else "D" for dim in DIMS}
        curves = [Curve(labels[d], start.run(d), published_curve(net, d)) for d in DIMS]
        draw_curves(axes, curves, evidence, counts=False)
        axes.set_title(start.label, fontsize=10)
        axes.set_ylim(0, 100)
    for axes in all_axes[0][1:]:
        axes.set_ylabel("")
    for axes in all_axes[0][:-1]:
        axes.get_legend().remove()  # one legend for all panels
    return figure


CAPTION = (
    "Test accuracy of the {} net over 10 epochs: our mean (line) and all seeds (band), and the "
    "post's points (dots)"
)
STUDY = Study("ultra-small", TITLE, cases, page, order=40)
