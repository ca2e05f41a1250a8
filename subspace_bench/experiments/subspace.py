"""The post's subspace table: its conv net with 21,840, 10,000, 3,000 and 1,000 free parameters."""

from __future__ import annotations

from typing import Any

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from subspace_bench.experiments import published, ultra_small
from subspace_bench.experiments.comparison_table import ComparisonTable, Points, draws, read_off
from subspace_bench.experiments.curves import Curve, draw_curves
from subspace_bench.experiments.legacy_page import Page
from subspace_bench.experiments.study import Evidence, Plan, Study
from subspace_bench.records.config import RunConfig
from subspace_bench.reporting.statistics import Published
from subspace_bench.training import presets

EPOCHS = 100
TITLE = "Subspace training: the conv net, 100 epochs"


def content() -> dict[str, Any]:
    found: dict[str, Any] = published.load("post")["subspace"]
    return found


def dims() -> list[int | None]:
    """d of each published row; None for D, which is trained directly."""
    return [None if row["free"] == presets.native("conv") else row["free"] for row in rows()]


def rows() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = content()["rows"]
    return found


def runs(plan: Plan) -> list[RunConfig]:
    return plan.all_seeds([presets.post("conv", dim, EPOCHS) for dim in dims()])


def curve_of(dim: int | None) -> Points | None:
    """The published 100-epoch curve, where its figure shows one."""
    curves = content()["curves"]
    return (curves["steps"], curves[f"d{dim}"]) if f"d{dim}" in curves else None


def page(evidence: Evidence) -> Page:
    table = ComparisonTable(evidence)
    for dim, row in zip(dims(), rows(), strict=True):
        run = presets.post("conv", dim, EPOCHS)
        if evidence.plan.cut(run) is None:
            continue
        value: Published | None = Published(row["accuracy"], content()["unit"], draws())
        printed = f"{row['accuracy']:.1f}"
        if evidence.quick:  # the ten-epoch figures show the same training from its start
            curve = ultra_small.published_curve("conv", dim)
            value, printed = read_off(curve, evidence.scored_at(run), ultra_small.precision())
        table.add({"free parameters": row["free"]}, run, value, printed)
    figures = {"subspace": lambda: draw(evidence)}
    notes = table.chance() if evidence.quick else [*table.chance(), digits()]
    opening = [PROTOCOL, at(evidence)]
    return Page(TITLE, opening, table.frame(), table.data(), notes, table.summary(), figures)


def at(evidence: Evidence) -> str:
    """Where accuracies are compared."""
    run = presets.post("conv", None, EPOCHS)
    cut = evidence.plan.cut(run) or run
    if evidence.quick:
        return f"Here: {cut.protocol.steps:,} updates, compared after {cut.protocol.last_score:,}."
    return (
        f"{run.protocol.steps:,} updates. The accuracy is the last one that the post's loop takes, "
        f"after update {run.protocol.last_score:,}; the post took it over {draws():,} random draws "
        "of test images, we over all 10,000."
    )


def digits() -> str:
    """What the post's notebook prints, and which of its numbers do not round to the table's."""
    said = "; ".join(f"{row['free']:,}: {row['notebook_text']}" for row in rows())
    wrong = [r for r in rows() if f"{r['notebook']:.1f}" != f"{r['accuracy']:.1f}"]
    odd = "; ".join(
        f"{r['notebook']} rounds to {r['notebook']:.1f}, not {r['accuracy']}" for r in wrong
    )
    return f"The post's notebook prints {said}." + (f" ({odd}.)" if odd else "")


def draw(evidence: Evidence) -> Figure:
    figure, axes = plt.subplots(figsize=(7.4, 4.2))
    curves = []
    for dim in sorted(dims(), key=lambda d: d or presets.native("conv")):
        label = f"d = {dim:,}" if dim else f"D = {presets.native('conv'):,}"
        curves.append(Curve(label, presets.post("conv", dim, EPOCHS), curve_of(dim)))
    draw_curves(axes, curves, evidence)
    axes.set_ylim(*((0, 100) if evidence.quick else (86, 99.6)))
    return figure


PROTOCOL = (
    "θ = Pω with P's columns orthonormal and the first along θ_init: only d numbers are trained. "
    "Adam (3·10⁻³, 0.9, 0.99), batches of 256 images drawn anew at every step."
)
STUDY = Study("subspace", TITLE, runs, page)
