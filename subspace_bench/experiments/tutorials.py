"""The post's first table: nine tutorials, counted from the built nets and trained their own way.

Row 4b is not in the post: the counterexample that it missed, from the same page as rows 4 and 7.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from subspace_bench.experiments import published
from subspace_bench.experiments.comparison_table import ComparisonTable
from subspace_bench.experiments.legacy_page import Page
from subspace_bench.experiments.study import Evidence, Plan, Study
from subspace_bench.records.config import RunConfig
from subspace_bench.reporting.statistics import Interval, Published, verdict
from subspace_bench.training import presets

TITLE = "Tutorials: how many parameters MNIST tutorials use, and what they reach"


def rows() -> list[dict[str, Any]]:
    """The nine published rows with 4b after 4."""
    content = published.load("post")["tutorials"]
    at = 1 + next(i for i, row in enumerate(content["rows"]) if row["id"] == "4")
    return [*content["rows"][:at], content["extra"], *content["rows"][at:]]


def row_of(row_id: str) -> dict[str, Any]:
    return next(row for row in rows() if row["id"] == row_id)


def runs(plan: Plan) -> list[RunConfig]:
    """All rows in the full profile; the others count parameters and train none."""
    if plan.profile != "full":
        return []
    return plan.all_seeds([presets.tutorial(row["id"]) for row in rows()])


@functools.cache
def counts() -> dict[str, int]:
    """Free parameters of each row, counted from the built net."""
    from subspace_bench import models

    return {row["id"]: models.parameter_count(models.build(row["model"])) for row in rows()}


def claimed(row_id: str) -> Interval:
    """What the printed accuracy can mean: ends that rounding leaves open are in `rounding`."""
    row = row_of(row_id)
    return Interval(row["low"], row["high"])


def not_run(run: RunConfig) -> str:
    """That there is no record, and how long one takes to make."""
    from subspace_bench.training.cost import estimate

    return f"not run (about {math.ceil(estimate(run).seconds / 60)} min)"


def published_accuracy(row: dict[str, Any]) -> Published:
    """The printed accuracy as a number or a range, with the unit of its last digit."""
    low, high = row["low"], row["high"]
    spread = Interval(low, high) if high > low else None
    return Published((low + high) / 2, rounding=row["unit"], range=spread)


def page(evidence: Evidence) -> Page:
    counted = ComparisonTable(evidence)
    for row in rows():
        count = counts()[row["id"]]
        labels = {
            "#": row["id"],
            "tutorial": row["author"],
            "package": row["package"],
            "type": row["type"],
            "post's count": row.get("free", ""),
            "our count": count,
            "right": right(row, count),
        }
        run = presets.tutorial(row["id"])
        value, printed = published_accuracy(row), row["accuracy_text"]
        apart = "" if "free" in row else f"row {row['id']}, not in the post"
        counted.add(labels, run, value, printed, absent=not_run(run), apart=apart)
    wrong = [row for row in rows() if row.get("free", counts()[row["id"]]) != counts()[row["id"]]]
    summary = f"{9 - len(wrong)} of 9 counts reproduce, {len(wrong)} do not; "
    return Page(
        TITLE, OPENING, shown(counted.frame()), counted.data(),
        [why_wrong(wrong), protocol_notes(evidence), *counted.chance()],
        summary + counted.summary(), {"digits": draw_digits},
    )  # fmt: skip


def right(row: dict[str, Any], count: int) -> str:
    if "free" not in row:
        return "not in the post"
    return "both" if row["free"] == count else "ours"


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """The claim is the tutorial's, not the post's own result."""
    return frame.rename(columns={"post": "claimed accuracy"})


def why_wrong(wrong: list[dict[str, Any]]) -> str:
    """Why the counts that differ do, with the layers that were counted."""
    from subspace_bench import models

    lines = [
        "**Counts that do not reproduce.** Ours are taken from the built nets, layer by layer:"
    ]
    for row in wrong:
        built = models.build(row["model"])
        layers = " + ".join(f"{models.parameter_count(m):,}" for m in built.children()
                            if models.parameter_count(m))  # fmt: skip
        line = f"- Row {row['id']}: {layers} = {counts()[row['id']]:,}, not {row['free']:,}. "
        line += row["why"]
        if row["model"] in models.HYPOTHESES:
            line += f" (Built that way it has {models.hypothetical_count(row['model']):,}.)"
        lines.append(line)
    return "\n".join(lines)


def protocol_notes(evidence: Evidence) -> str:
    """What was not run, and how each row reads."""
    missing = [r["id"] for r in rows() if not evidence.sample(presets.tutorial(r["id"]), False).n]
    text = (
        "**Accuracies.** Each row is trained under its own tutorial's protocol: optimizer, "
        "schedule, batch, length, split, scaling and initialisation are data, with sources, in "
        "`subspace_bench/published/protocols.toml`. The accuracy is that after the last update, "
        "on all 10,000 test images. "
    )
    text += " ".join(f"Row {row['id']}: {row['note']}" for row in rows() if "note" in row)
    text += "".join(f" {printed_apart(row, evidence)}" for row in rows() if "printed" in row)
    if missing:
        text += (
            f" Not run for the reference: row {', '.join(missing)}; the times are for one thread "
            "of the machine that wrote the other records."
        )
    return text


def printed_apart(row: dict[str, Any], evidence: Evidence) -> str:
    """How the post's own figure stands, where the row is held against its tutorial's instead."""
    sample = evidence.sample(presets.tutorial(row["id"]), own=False)
    said = verdict(sample, Published(row["printed"], row["printed_unit"]))
    text = f"The post's table says {row['printed']}% for row {row['id']}"
    if evidence.comparable and said:
        text += f"; held against that alone, the verdict is: {said}"
    return f"{text}."


def draw_digits() -> Figure:
    """The post's first figure: a grid of MNIST digits."""
    from subspace_bench.datasets.embedded import embedded_digits

    images = embedded_digits().train_images
    figure, all_axes = plt.subplots(6, 14, figsize=(7, 3))
    for i, axes in enumerate(all_axes.flat):
        axes.imshow(images[i].numpy(), cmap="gray_r")
        axes.axis("off")
    return figure


OPENING = [
    "How many parameters did MNIST tutorials of 2017 use, and did they need them? Row 4b stands on "
    "the same page as rows 4 and 7, but the post left it out.",
]
STUDY = Study("tutorials", TITLE, runs, page)
