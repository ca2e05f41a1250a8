"""Trainings of the reproduction that were planned and are not committed yet, a cell as one batch.

The records are in the archive, in `records-planned/`; `--import` puts them beside the committed
ones, where verdicts read them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from benchmarks.gpu.stages import Item, Setting
from benchmarks.gpu.tables import dry_cells, show, train_cell
from subspace_bench.experiments import claims, subspace, variance
from subspace_bench.experiments.criteria import planned_seeds
from subspace_bench.experiments.study import Evidence, Plan
from subspace_bench.records.committed import committed_store
from subspace_bench.records.config import RunConfig
from subspace_bench.training import presets

LIMIT_SECONDS = 300.0
RECORDS = "records-planned"  # folder in the archive
AUTHOR_DIM = 10_000  # the largest of the notebook's trainings, 40 minutes each on a core
TUTORIALS = {"3": 5, "9": 5, "8": 3, "5": 3}  # row → seeds; 8 and 5 take an hour or two each


def items(setting: Setting) -> list[Item]:
    """One item for each cell: its missing seeds."""
    cells = dry_cells() if setting.dry else missing_seeds(setting.device)
    train = partial(train_cell, folder=RECORDS)
    return [Item(name, partial(train, runs, setting), LIMIT_SECONDS)
            for name, runs in cells.items()]  # fmt: skip


def planned(plan: Plan) -> Iterator[RunConfig]:
    """All that was planned: seeds of claims, the author's draws, tutorials."""
    yield from (run for run in claims.cases(plan) if planned_seeds(run))
    yield from replace(plan, seeds=variance.MIN).expand([subspace.author_run(AUTHOR_DIM)])
    for row, seeds in TUTORIALS.items():
        yield from replace(plan, seeds=seeds).expand([presets.tutorial(row)])


def missing_seeds(device: str) -> dict[str, list[RunConfig]]:
    """Cell → its planned runs whose seeds are not committed, on any device."""
    plan = Plan("full", 1, "mnist", device)
    evidence = Evidence(plan, committed_store())
    cells: dict[str, list[RunConfig]] = {}
    for run in planned(plan):
        seeds = {record.run.seed for record in evidence.committed(replace(run, seed=0))}
        draws = ", the author's draws" * (run.draws == "author")
        if run.seed not in seeds:
            cells.setdefault(f"{run.model}, d = {show(run.dim)}{draws}", []).append(run)
    return cells
