"""The post's subspace table: its conv net with 21,840, 10,000, 3,000 and 1,000 free parameters."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from subspace_bench.experiments import initial_sigma, published, ultra_small, variance
from subspace_bench.experiments.comparison_table import (
    ComparisonTable,
    Points,
    drawn_images,
    published_point,
)
from subspace_bench.experiments.curves import Curve, draw_curves
from subspace_bench.experiments.initial_sigma import CurveFit, show_p
from subspace_bench.experiments.sigma_likelihood import best_rho, make_cell
from subspace_bench.experiments.study import Evidence, Plan, Study, make_page
from subspace_bench.records.config import RunConfig
from subspace_bench.reporting.figures import PageFigure
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.statistics import MIN_SEEDS, TOO_FEW, Published
from subspace_bench.training import presets

EPOCHS = 100
LIES = "the notebook's lies"  # column
ROUNDING = 1e-4  # of the notebook's outputs
TITLE = "Subspace training: the conv net, 100 epochs"


def content() -> dict[str, Any]:
    table: dict[str, Any] = published.load("post")["subspace"]
    return table


def dims() -> list[int | None]:
    """d of each published row; None for D, trained in full space."""
    return [None if row["free"] == presets.native("conv") else row["free"] for row in rows()]


def rows() -> list[dict[str, Any]]:
    published_rows: list[dict[str, Any]] = content()["rows"]
    return published_rows


def cases(plan: Plan) -> list[RunConfig]:
    """The full profile adds the author's draws, and ten-epoch runs for the table of variances."""
    nets = [presets.post("conv", dim, EPOCHS) for dim in dims()]
    if plan.profile == "full":
        nets += [
            run
            for net, init, its_dims, length in variance.TRAININGS
            for dim in its_dims
            for run in variance.runs(net, init, dim, length)
        ]
    return plan.expand(nets)


def author_run(dim: int | None) -> RunConfig:
    """The training that the published notebook shows: its θ_init and P, our batches and dropout."""
    return presets.post("conv", dim, EPOCHS, draws="author")


def curve_of(dim: int | None) -> Points | None:
    """The published 100-epoch curve; None if the figure lacks it."""
    curves = content()["curves"]
    return (curves["steps"], curves[f"d{dim}"]) if f"d{dim}" in curves else None


def page(evidence: Evidence) -> Page:
    table = ComparisonTable(evidence)
    for dim, row in zip(dims(), rows(), strict=True):
        run = presets.post("conv", dim, EPOCHS)
        if evidence.plan.adapt(run) is None:
            continue
        value: Published | None = Published(row["accuracy"], content()["unit"], drawn_images())
        printed = f"{row['accuracy']:.1f}"
        if evidence.quick:  # the ten-epoch figures show the same training from its start
            curve = ultra_small.published_curve("conv", dim)
            value, printed = published_point(
                curve, evidence.scored_at(run), ultra_small.precision()
            )
        name = f"d = {dim:,}" if dim else "D"
        table.add(name, {"free parameters": row["free"]}, run, value, printed)
    tables = {"accuracies": table.frame()}
    values: dict[str, Any] = {
        "length": evidence.protocol(presets.post("conv", None, EPOCHS)),
        "draws": drawn_images(),
    }
    summary, records = table.summary(), {"accuracies": table.records}
    if evidence.comparable and not evidence.quick:
        spreads = variance.spreads(evidence)
        tables |= {"notebook": notebook(evidence), "variance": variance.table(spreads)}
        records["notebook"] = [evidence.names(author_run(dim)) for dim in dims()]
        records["variance"] = variance.record_names(evidence)
        if (share := tables["variance"][variance.SHARE].iloc[-1]) != TOO_FEW:
            summary += f"; P and θ_init make {share} of the variance between runs in subspaces"
        values["fits"] = fit_curves(evidence)
        values["curve_ps"] = [show_p(fit) for fit in values["fits"]]
        values["correlation"] = f"{variance.mean_correlation([s.batches for s in spreads]):z.2f}"
    figure = PageFigure(
        lambda: draw(evidence),
        "Test accuracy of the conv net over 100 epochs: our mean (line) and all seeds (band), and "
        "the post's points (dots)",
    )
    return make_page(
        STUDY,
        evidence,
        summary,
        tables=tables,
        data=table.data(),
        values={**table.values(), **values},
        figures={"subspace": figure},
        records=records,
    )


def fit_curves(evidence: Evidence) -> list[CurveFit | None]:
    """How well each published curve fits the committed runs from fresh draws."""
    found = {
        dim: (evidence.committed(presets.post("conv", dim, EPOCHS)), curve)
        for dim in dims()
        if (curve := curve_of(dim)) is not None
    }
    cells = [make_cell(*given) for given in found.values() if len(given[0]) >= MIN_SEEDS]
    rhos, noise = initial_sigma.criterion()["rhos"], initial_sigma.noise()
    rho = best_rho([cell for cell in cells if cell is not None], rhos, noise)
    return [initial_sigma.curve_fit(*given, rho) for given in found.values()]


def notebook(evidence: Evidence) -> pd.DataFrame:
    """The outputs stored in the published notebook beside one more run from the author's draws."""
    shown = []
    for dim, row in zip(dims(), rows(), strict=True):
        sample = evidence.sample(author_run(dim))
        cells = {"free parameters": f"{row['free']:,}", "notebook": row["notebook_text"],
                 "author's draws": sample.show()}  # fmt: skip
        expected = None
        if sample.n >= variance.MIN:
            expected = Published(row["notebook"], ROUNDING, drawn_images()).expected(sample)
        if expected is None:
            cells |= {"95% of further runs": TOO_FEW, LIES: ""}
        else:
            cells["95% of further runs"] = f"{expected.low:.2f} to {expected.high:.2f}"
            inside = row["notebook"] in expected
            cells[LIES] = "inside" if inside else "outside"
        local = evidence.sample(author_run(dim), local=True)
        cells["local"] = local.show() if local.n else ""
        shown.append(cells)
    frame = pd.DataFrame(shown)
    return frame if any(frame["local"]) else frame.drop(columns="local")


def draw(evidence: Evidence) -> Figure:
    figure, axes = plt.subplots(figsize=(7.4, 4.2))
    curves = []
    for dim in sorted(dims(), key=lambda d: d or presets.native("conv")):
        label = f"d = {dim:,}" if dim else f"D = {presets.native('conv'):,}"
        curves.append(Curve(label, presets.post("conv", dim, EPOCHS), curve_of(dim)))
    draw_curves(axes, curves, evidence)
    axes.set_ylim(*((0, 100) if evidence.quick else (86, 99.6)))
    return figure


STUDY = Study("subspace", TITLE, cases, page, order=30)
