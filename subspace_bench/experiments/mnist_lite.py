"""The post's MNIST-lite table: four small nets, trained directly."""

from __future__ import annotations

from typing import Any

from subspace_bench import published
from subspace_bench.experiments import trainings
from subspace_bench.experiments.accuracies import Rows, draws
from subspace_bench.experiments.base import Evidence, Experiment, Page, Plan
from subspace_bench.runs import Run
from subspace_bench.statistics import Published

TITLE = "MNIST-lite: small nets trained directly, 10 epochs"


def content() -> dict[str, Any]:
    found: dict[str, Any] = published.load("post")["mnist-lite"]
    return found


def runs(plan: Plan) -> list[Run]:
    return plan.all_seeds([trainings.lite(row["model"]) for row in content()["rows"]])


def page(evidence: Evidence) -> Page:
    table = Rows(evidence)
    for row in content()["rows"]:
        labels = {
            "structure": row["structure"],
            "type": row["type"],
            "post's count": row["free"],
            "our count": trainings.native(row["model"]),
        }
        value = None if evidence.quick else Published(row["accuracy"], content()["unit"], draws())
        printed = "—" if evidence.quick else f"{row['accuracy']:.1f}"
        table.add(labels, trainings.lite(row["model"]), value, printed)
    run = trainings.lite(content()["rows"][0]["model"])
    length = (evidence.plan.cut(run) or run).protocol
    opening = (
        "Counts are taken from the built nets. Protocol: Adam (3·10⁻³, 0.9, 0.99), batches of 256 "
        f"images drawn anew at every step, {length.steps:,} updates, scored after update "
        f"{length.last_score:,}. The post shows no curves of these nets."
    )
    return Page(TITLE, [opening], table.frame(), table.data(), table.chance(), table.summary())


EXPERIMENT = Experiment("mnist-lite", TITLE, runs, page)
