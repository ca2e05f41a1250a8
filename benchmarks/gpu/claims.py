"""The seeds of the post's claims that were planned and are not committed yet, each cell as one
batch; and the longest training from the author's draws.

The records are in the archive, in `records-planned/`; `--import` puts them beside the committed
ones, where the claims' verdicts read them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from benchmarks.gpu.stages import Item, Setting
from benchmarks.gpu.tables import dry_cells, show, train_cell
from subspace_bench.experiments import claims, subspace, variance
from subspace_bench.experiments.criteria import planned_seeds
from subspace_bench.experiments.study import Evidence, Plan
from subspace_bench.records.committed import committed_store
from subspace_bench.records.config import RunConfig

LIMIT_SECONDS = 240.0
RECORDS = "records-planned"  # folder in the archive
AUTHOR_DIM = 10_000  # the largest of the notebook's trainings, 40 minutes each on a core


def items(setting: Setting) -> list[Item]:
    """One item for each cell: its missing seeds."""
    cells = dry_cells() if setting.dry else missing_seeds(setting.device)
    train = partial(train_cell, folder=RECORDS)
    return [Item(name, partial(train, runs, setting), LIMIT_SECONDS)
            for name, runs in cells.items()]  # fmt: skip


def missing_seeds(device: str) -> dict[str, list[RunConfig]]:
    """Cell → its planned runs whose seeds are not committed, on any device."""
    plan = Plan("full", 1, "mnist", device)
    planned = [run for run in claims.cases(plan) if planned_seeds(run)]
    author = replace(subspace.author_run(AUTHOR_DIM), device=device)
    planned += [replace(author, seed=seed) for seed in range(variance.MIN)]
    evidence = Evidence(plan, committed_store())
    cells: dict[str, list[RunConfig]] = {}
    for run in planned:
        seeds = {record.run.seed for record in evidence.committed(replace(run, seed=0))}
        draws = ", the author's draws" * (run.draws == "author")
        if run.seed not in seeds:
            cells.setdefault(f"{run.model}, d = {show(run.dim)}{draws}", []).append(run)
    return cells
