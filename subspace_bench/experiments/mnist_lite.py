"""The post's MNIST-lite table: four small nets, trained directly."""

from __future__ import annotations

from subspace_bench import published
from subspace_bench.experiments import trainings
from subspace_bench.experiments.accuracies import Rows
from subspace_bench.experiments.base import Evidence, Experiment, Page, Plan
from subspace_bench.runs import Run
from subspace_bench.statistics import POST_DRAWS, Published

TITLE = "MNIST-lite: small nets trained directly, 10 epochs"


def runs(plan: Plan) -> list[Run]:
    return plan.all_seeds(
        [trainings.lite(r["model"]) for r in published.load("post")["mnist-lite"]["rows"]]
    )


def page(evidence: Evidence) -> Page:
    from subspace_bench import models

    table = Rows(evidence)
    for row in published.load("post")["mnist-lite"]["rows"]:
        count = models.parameter_count(models.build(row["model"]))
        labels = {"structure": row["structure"], "type": row["type"], "free parameters": count}
        value = Published(row["accuracy"], rounding=0.1, draws=POST_DRAWS)
        printed = "—" if evidence.quick else f"{row['accuracy']:.1f}"
        table.add(labels, trainings.lite(row["model"]), None if evidence.quick else value, printed)
    return Page(TITLE, OPENING, table.frame(), table.data(), table.chance(), table.summary())


OPENING = [
    "Counts are taken from the built nets and equal the post's. Protocol: Adam (3·10⁻³, 0.9, "
    "0.99), batches of 256 images drawn anew at every step, 2,344 updates, scored after update "
    "2,301. The post shows no curves of these nets.",
]
EXPERIMENT = Experiment("mnist-lite", TITLE, runs, page)
