"""The post's subspace table: its conv net with 21,840, 10,000, 3,000 and 1,000 free parameters."""

from __future__ import annotations

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from subspace_bench import published
from subspace_bench.experiments import trainings
from subspace_bench.experiments.accuracies import Rows
from subspace_bench.experiments.base import Evidence, Experiment, Page, Plan
from subspace_bench.experiments.curves import Curve, draw_curves, legend_title
from subspace_bench.runs import Run
from subspace_bench.statistics import POST_DRAWS, Published

EPOCHS = 100
TITLE = "Subspace training: the conv net of 21,840 parameters, 100 epochs"


def training(free: int) -> Run:
    """The run with so many free parameters; all 21,840 are trained directly."""
    return trainings.post("conv", None if free == 21_840 else free, EPOCHS)


def rows() -> list[dict[str, float]]:
    """The published table: free parameters and test accuracies."""
    found: list[dict[str, float]] = published.load("post")["subspace"]["rows"]
    return found


def runs(plan: Plan) -> list[Run]:
    return plan.all_seeds([training(int(r["free"])) for r in rows()])


def curve_of(free: int) -> tuple[list[float], list[float]] | None:
    """The published 100-epoch curve, where its figure shows one."""
    content = published.load("post")["subspace"]["curves"]
    key = f"d{free}"
    return (content["steps"], content[key]) if key in content else None


def page(evidence: Evidence) -> Page:
    table = Rows(evidence)
    for row in rows():
        free = int(row["free"])
        run = training(free)
        value: Published | None = Published(row["accuracy"], rounding=0.1, draws=POST_DRAWS)
        printed = f"{row['accuracy']:.1f}"
        if evidence.quick:
            value, printed = published_at(free, evidence.scored_at(run))
        table.add({"free parameters": free}, run, value, printed)
    figures = {"subspace": lambda: draw(evidence)}
    return Page(
        TITLE, OPENING, table.frame(), table.data(), table.chance() + NOTES, table.summary(),
        figures,
    )  # fmt: skip


def published_at(free: int, updates: int) -> tuple[Published | None, str]:
    """The point of the published curve that was scored after so many updates."""
    found = curve_of(free)
    if found is None or updates - 1 not in found[0]:
        return None, "—"
    value = found[1][found[0].index(updates - 1)]
    if value != value:  # hidden in the figure
        return None, "hidden"
    return Published(value, rounding=0.6, draws=POST_DRAWS), f"{value:.1f}"


def draw(evidence: Evidence) -> Figure:
    figure, axes = plt.subplots(figsize=(7, 4.2))
    curves = []
    for row in sorted(rows(), key=lambda r: r["free"]):
        free = int(row["free"])
        label = f"d = {free:,}" if free != 21_840 else "θ: 21,840"
        curves.append(Curve(label, training(free), curve_of(free)))
    draw_curves(axes, curves, evidence)
    axes.set_ylim(*((0, 100) if evidence.quick else (86, 99.6)))
    axes.legend(title=legend_title(evidence), loc="lower right")
    return figure


OPENING = [
    "θ = Pω with P's columns orthonormal and the first along θ_init: only d numbers are trained. "
    "Adam (3·10⁻³, 0.9, 0.99), batches of 256 images drawn anew at every step, 23,438 updates. "
    "The accuracy is the last one the post's loop takes, after update 23,401; the post took it "
    "over 9,984 random draws of test images, we over all 10,000.",
]
NOTES = [
    "The post's notebook prints more digits than its table: 98.91, 98.80, 97.00 and 93.50.",
]
EXPERIMENT = Experiment("subspace", TITLE, runs, page)
