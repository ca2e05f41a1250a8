"""The post's MNIST-lite table: four small nets, trained in full space."""

from __future__ import annotations

from typing import Any

from subspace_bench.experiments import published
from subspace_bench.experiments.comparison_table import ComparisonTable, drawn_images
from subspace_bench.experiments.study import Evidence, Plan, Study, make_page
from subspace_bench.records.config import RunConfig
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.statistics import Published
from subspace_bench.training import presets

TITLE = "MNIST-lite: small nets without a subspace, 10 epochs"


def content() -> dict[str, Any]:
    table: dict[str, Any] = published.load("post")["mnist-lite"]
    return table


def cases(plan: Plan) -> list[RunConfig]:
    return plan.expand([presets.lite(row["model"]) for row in content()["rows"]])


def page(evidence: Evidence) -> Page:
    table = ComparisonTable(evidence)
    for row in content()["rows"]:
        labels = {
            "structure": row["structure"],
            "type": row["type"],
            "post's count": row["free"],
            "our count": presets.native(row["model"]),
        }
        value = (
            None
            if evidence.quick
            else Published(row["accuracy"], content()["unit"], drawn_images())
        )
        printed = "—" if evidence.quick else f"{row['accuracy']:.1f}"
        table.add(f"{row['free']:,} parameters", labels, presets.lite(row["model"]), value, printed)
    length = evidence.protocol(presets.lite(content()["rows"][0]["model"]))
    return make_page(
        STUDY,
        evidence,
        table.summary(),
        tables={"accuracies": table.frame()},
        data=table.data(),
        values={**table.values(), "length": length},
        records={"accuracies": table.records},
    )


STUDY = Study("mnist-lite", TITLE, cases, page, order=20)
