"""`subspace-bench reproduce`: from tables asked for to pages written.

Checks everything first, says what it will take, trains the runs that have no record yet, cheap
ones first, and writes each table as soon as its runs have ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
from rich.console import Console

from subspace_bench.cli.progress import Display, labels
from subspace_bench.common.formatting import format_bytes, format_duration, print_table
from subspace_bench.common.hardware import available_memory, resident_memory
from subspace_bench.datasets import catalog, loading, locate
from subspace_bench.experiments import STUDIES, Evidence, Plan
from subspace_bench.records.committed import committed_store
from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Store
from subspace_bench.reporting.index import write_index
from subspace_bench.reporting.render import write_page
from subspace_bench.training.cost import (
    Cost,
    estimator,
    jobs_that_fit,
    memory_together,
    wall_seconds,
)
from subspace_bench.training.executor import Event
from subspace_bench.training.runner import train_all

MEMORY_SHARE = 0.9  # of what is available


@dataclass
class Work:
    """The runs that tables ask for, and what those without a record are expected to take.

    Attributes:
        tables: name → its runs.
        waiting: runs without a record, cheap ones first.
        costs: of every run of the tables.
        again: whether those that wait lose their records and checkpoints first.
    """

    plan: Plan
    tables: dict[str, list[RunConfig]]
    waiting: list[RunConfig] = field(default_factory=list)
    costs: dict[RunConfig, Cost] = field(default_factory=dict)
    again: bool = False

    @property
    def labels(self) -> dict[RunConfig, str]:
        return labels(self.costs)

    @property
    def expected(self) -> list[Cost]:
        return [self.costs[run] for run in self.waiting]


def gather(names: Sequence[str], plan: Plan, own: Store, again: bool = False) -> Work:
    """What the tables need, and what of it is still to be trained.

    Arguments:
        again: whether runs with a record are trained anew.

    Raises:
        UserError: where any own record is damaged, edited by hand or of another schema.
    """
    kept = list(own.records())
    recorded = {record.run for record in kept}
    reference = committed_store()
    # This machine's own figures say more than those of the machine that made the reference.
    cost_of = estimator([*kept, *(reference.records() if reference else ())])
    work = Work(plan, {name: STUDIES[name].cases(plan) for name in names}, again=again)
    for run in (run for runs in work.tables.values() for run in runs):
        if run not in work.costs:
            work.costs[run] = cost_of(run)
            if again or run not in recorded:
                work.waiting.append(run)
    work.waiting.sort(key=lambda run: work.costs[run].seconds)
    return work


def dataset_of(plan: Plan, root: Path | None, screen: Console) -> Plan:
    """The plan on the data that can be had, which it says."""
    dataset = loading.load_or_embedded(plan.dataset, root)
    if dataset.name == plan.dataset:
        screen.print(f"Data: {dataset.name}, {dataset.where}, {catalog.VERIFICATION[dataset.name]}")
    else:
        screen.print(
            f"Data: {plan.dataset} could not be had; {dataset.name}, the 5,000 digits "
            f"{dataset.where}, take its place. Nothing is held against the post."
        )
    return replace(plan, dataset=dataset.name)


def where_data_are(plan: Plan, root: Path | None) -> str:
    """For --plan, which neither downloads nor reads."""
    found = locate.locate(plan.dataset, root)
    if found is None:
        return f"Data: {plan.dataset} is not here yet and would be downloaded"
    return f"Data: {plan.dataset}, in {found}"


def summary(work: Work, jobs: int) -> str:
    """What is to come, in a line."""
    kept = len(work.costs) - len(work.waiting)
    records = f"{kept} of {len(work.costs)} runs have their record"
    idle = " and ".join(name for name, runs in work.tables.items() if not runs)
    only = f"{idle}: trained by --profile full only" if idle else ""
    if not work.costs:
        return f"nothing to train; {only}"
    if not work.waiting:
        return f"{records}: nothing to train" + f"; {only}" * bool(only)
    costs = work.expected
    memory = memory_together(costs, jobs)
    return (
        f"{records}, {len(costs)} to train: about {format_duration(wall_seconds(costs, jobs))} "
        f"with {jobs} at a time, {format_bytes(memory)} of memory, "
        f"{format_bytes(sum(c.disk for c in costs))} of disk" + f"; {only}" * bool(only)
    )


def listing(work: Work) -> pd.DataFrame:
    """The table of --plan: every run and what it is expected to take."""
    waiting = set(work.waiting)
    done = [run for run in work.costs if run not in waiting]
    names = work.labels
    return pd.DataFrame(
        {
            "run": names[run],
            "θ_init": run.init,
            "updates": f"{run.protocol.steps:,}",
            "time": "recorded" if run not in waiting else format_duration(work.costs[run].seconds),
            "memory": format_bytes(work.costs[run].memory),
            "disk": format_bytes(work.costs[run].disk),
            "tables": ", ".join(name for name, runs in work.tables.items() if run in runs),
        }
        for run in done + work.waiting
    )


def fitting_jobs(work: Work, jobs: int) -> int:
    """As many runs at a time as asked for, or as fit the memory that is there."""
    there = available_memory() + resident_memory()  # this process counts as what it will take
    return jobs_that_fit(work.expected, jobs, MEMORY_SHARE * there)


class Pages:
    """Rewrites a table when one of its runs has ended, and shows it when the last one has."""

    def __init__(self, work: Work, own: Store, out: Path, screen: Console) -> None:
        self.work, self.own, self.out, self.screen = work, own, out, screen
        waiting = set(work.waiting)
        self.missing = {name: waiting.intersection(runs) for name, runs in work.tables.items()}

    def evidence(self) -> Evidence:
        return Evidence(self.work.plan, committed_store(), self.own)

    def tell(self, message: Event[RunConfig]) -> None:
        """Hears that a run has its record."""
        if message.kind != "done":
            return
        for name, runs in self.missing.items():
            if message.case in runs:
                runs.discard(message.case)
                evidence = self.evidence()
                if runs and not STUDIES[name].withheld(evidence):
                    write_page(STUDIES[name].page(evidence), self.out, figures=False)
                elif not runs:
                    self.write(name, evidence)

    def write(self, name: str, evidence: Evidence) -> None:
        if reason := STUDIES[name].withheld(evidence):
            self.screen.print(f"{name}: {reason}")
            return
        page = STUDIES[name].page(evidence)
        write_page(page, self.out)
        print_table(self.screen, page.title, next(iter(page.tables.values())))
        self.screen.print(f"{self.out / name}.md")

    def finish(self) -> None:
        """Pages that were not written on the way, and the index."""
        evidence = self.evidence()
        waiting = set(self.work.waiting)
        for name, runs in self.work.tables.items():
            if self.missing[name] or not waiting.intersection(runs):
                self.write(name, evidence)
        index = write_index(self.out, STUDIES)
        self.screen.print(f"All tables: {index}")


def train_and_show(
    work: Work, own: Store, root: Path | None, out: Path, jobs: int, screen: Console
) -> list[Event[RunConfig]]:
    """Trains what waits, writes the pages, and returns the failures."""
    if work.again:
        for run in work.waiting:
            own.discard(run)
    pages = Pages(work, own, out, screen)
    failures: list[Event[RunConfig]] = []
    if work.waiting:
        costs = {run: work.costs[run] for run in work.waiting}
        with Display(screen, costs, work.labels, jobs) as display:

            def tell(message: Event[RunConfig]) -> None:
                display.tell(message)
                pages.tell(message)

            try:
                failures = train_all(work.waiting, own, root, jobs, tell)
            except KeyboardInterrupt:
                pages.finish()
                raise
    pages.finish()
    return failures
