"""The post's subspace table: its conv net with 21,840, 10,000, 3,000 and 1,000 free parameters."""

from __future__ import annotations

from typing import Any

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from subspace_bench.experiments import published, ultra_small
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

EPOCHS = 100
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
    return plan.expand([presets.post("conv", dim, EPOCHS) for dim in dims()])


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
    values = {
        "length": evidence.protocol(presets.post("conv", None, EPOCHS)),
        "draws": drawn_images(),
        "notebook": [row["notebook_text"] for row in rows()],
    }
    figure = PageFigure(
        lambda: draw(evidence),
        "Test accuracy of the conv net over 100 epochs: our mean (line) and all seeds (band), and "
        "the post's points (dots)",
    )
    return make_page(
        STUDY,
        evidence,
        table.summary(),
        tables={"accuracies": table.frame()},
        data=table.data(),
        values={**table.values(), **values},
        figures={"subspace": figure},
    )


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
