"""The post's MNIST-lite table: four small nets, trained directly."""

from __future__ import annotations

from typing import Any

from subspace_bench.experiments import published
from subspace_bench.experiments.comparison_table import ComparisonTable, draws
from subspace_bench.experiments.legacy_page import Page
from subspace_bench.experiments.study import Evidence, Plan, Study
from subspace_bench.records.config import RunConfig
from subspace_bench.reporting.statistics import Published
from subspace_bench.training import presets

TITLE = "MNIST-lite: small nets trained directly, 10 epochs"


def content() -> dict[str, Any]:
    found: dict[str, Any] = published.load("post")["mnist-lite"]
    return found


def runs(plan: Plan) -> list[RunConfig]:
    return plan.all_seeds([presets.lite(row["model"]) for row in content()["rows"]])


def page(evidence: Evidence) -> Page:
    table = ComparisonTable(evidence)
    for row in content()["rows"]:
        labels = {
            "structure": row["structure"],
            "type": row["type"],
            "post's count": row["free"],
            "our count": presets.native(row["model"]),
        }
        value = None if evidence.quick else Published(row["accuracy"], content()["unit"], draws())
        printed = "—" if evidence.quick else f"{row['accuracy']:.1f}"
        table.add(labels, presets.lite(row["model"]), value, printed)
    run = presets.lite(content()["rows"][0]["model"])
    length = (evidence.plan.cut(run) or run).protocol
    opening = (
        "Counts are taken from the built nets. Protocol: Adam (3·10⁻³, 0.9, 0.99), batches of 256 "
        f"images drawn anew at every step, {length.steps:,} updates, scored after update "
        f"{length.last_score:,}. The post shows no curves of these nets."
    )
    return Page(TITLE, [opening], table.frame(), table.data(), table.chance(), table.summary())


STUDY = Study("mnist-lite", TITLE, runs, page)
