"""The tables and figures of the post, five seeds of every cell, trained as one batch each.

The records are in the archive, in `records/`. No verdict reads them: the same seeds were trained
alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from benchmarks.gpu.costs import fits_device, step_costs
from benchmarks.gpu.stages import Item, Setting, Values
from subspace_bench.datasets.catalog import EMBEDDED
from subspace_bench.datasets.loading import load_or_embedded
from subspace_bench.experiments import mnist_lite, subspace, ultra_small
from subspace_bench.experiments.study import Evidence, Plan
from subspace_bench.records.committed import committed_store
from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Record, Store
from subspace_bench.reporting.statistics import Sample
from subspace_bench.training.together import train_together

SEEDS, DRY_SEEDS, DRY_STEPS = 5, 2, 3
STUDIES = (mnist_lite.STUDY, ultra_small.STUDY, subspace.STUDY)  # the shortest first
LIMIT_SECONDS = 150.0
RECORDS = "records"  # folder in the archive


def items(setting: Setting) -> list[Item]:
    """One item for each cell: its seeds."""
    cells = dry_cells() if setting.dry else post_cells(setting.device)
    return [Item(name, partial(train_cell, runs, setting), LIMIT_SECONDS)
            for name, runs in cells.items()]  # fmt: skip


def post_cells(device: str) -> dict[str, list[RunConfig]]:
    """Study and cell → its runs."""
    cells: dict[str, list[RunConfig]] = {}
    for study in STUDIES:
        for run in study.cases(Plan("post", SEEDS, "mnist", device)):
            name = f"{study.name}: {run.model}, {run.init}, d = {show(run.dim)}"
            cells.setdefault(name, []).append(run)
    return cells


def dry_cells() -> dict[str, list[RunConfig]]:
    """A baseline and a subspace on the embedded digits, for a few steps."""
    runs = [run for runs in post_cells("cpu").values() for run in runs[:1]]
    chosen = [next(r for r in runs if r.dim == dim and r.draws == "streams") for dim in (None, 3)]
    short = [replace(run, protocol=replace(run.protocol, steps=DRY_STEPS, batch=4))
             for run in chosen]  # fmt: skip
    return {f"d = {show(run.dim)}": [replace(run, seed=s) for s in range(DRY_SEEDS)]
            for run in short}  # fmt: skip


def show(dim: int | None) -> str:
    return "D" if dim is None else f"{dim:,}"


def train_cell(runs: Sequence[RunConfig], setting: Setting, folder: str = RECORDS) -> Values:
    """Trains a cell, stores its records, and compares accuracies with the committed ones.

    Arguments:
        folder: of the records, in the archive.
    """
    if not fits_device(runs[0], len(runs), setting):
        return {"status": "does not fit: the columns of all nets need more memory than is free"}
    dataset = load_or_embedded(EMBEDDED if setting.dry else "mnist")
    records = train_together([replace(run, dataset=dataset.name) for run in runs], dataset)
    store = Store(setting.work / folder)
    for record in records:
        store.put(record)
    facts, steps = records[0].provenance, runs[0].protocol.steps
    accuracies = scores(records)
    values: Values = {
        "nets": len(runs),
        "dataset": dataset.name,
        "seconds_set_up": facts["seconds_set_up"],
        "seconds_training": facts["seconds_training"],
        "step_ms": 1e3 * facts["seconds_training"] / steps,
        "steps": steps,
        **step_costs(runs[0], len(runs)),
        "diverged": sum("diverged" in record.result for record in records),
        "accuracy": accuracies.mean,
        "accuracy_sd": accuracies.sd,
    }
    return values | committed_accuracies(runs[0])


def committed_accuracies(run: RunConfig) -> Values:
    """Mean and deviation of the committed runs of all seeds, each trained alone on a CPU."""
    records = Evidence(Plan(), committed_store()).committed(run)
    known = scores([r for r in records if r.run.device == "cpu" and not r.run.batched])
    if not known.n:
        return {}
    return {"cpu_nets": known.n, "cpu_accuracy": known.mean, "cpu_accuracy_sd": known.sd}


def scores(records: Sequence[Record | None]) -> Sample:
    """The accuracies of records; of those that diverged, none."""
    found = [record.result["accuracy"] for record in records if record is not None]
    return Sample(tuple(accuracy for accuracy in found if accuracy is not None))
