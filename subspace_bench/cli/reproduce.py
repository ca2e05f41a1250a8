"""`subspace-bench reproduce`: trains missing runs and writes pages.

It checks its input, shows the cost, then trains runs without a record, cheapest first. It writes a
page as soon as the last of its runs has ended.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from subspace_bench.cli.options import (
    EXECUTORS,
    Data,
    Device,
    Force,
    Out,
    Pages,
    Profile,
    choice_option,
    page_names,
    report_failures,
    report_interruption,
)
from subspace_bench.cli.tensorboard import Scalars, Tensorboard
from subspace_bench.common import validation
from subspace_bench.common.errors import UserError
from subspace_bench.common.formatting import (
    format_bytes,
    format_duration,
    make_console,
    print_table,
)

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from subspace_bench.experiments import Evidence
    from subspace_bench.records.config import RunConfig
    from subspace_bench.records.store import Record
    from subspace_bench.training.cost import Workload
    from subspace_bench.training.executor import Event

MOST_SEEDS = 100


def reproduce(
    pages: Pages = None,
    seeds: Annotated[int, typer.Option(help="Number of seeds per run: 0, 1, …, N − 1.")] = 1,
    profile: Profile = "post",
    device: Device = "auto",
    jobs: Annotated[
        int | None, typer.Option(help="Runs at a time. Default: one per core, if they fit memory.")
    ] = None,
    executor: Annotated[
        str, choice_option("local, ray or submitit (Slurm). See docs/clusters.md.", *EXECUTORS)
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(help="Ray cluster, HOST:PORT or auto. Default: start one on this machine."),
    ] = None,
    mirror: Annotated[
        str | None, typer.Option(help="URL that has the records as well, such as s3://bucket/path.")
    ] = None,
    data: Data = None,
    out: Out = Path("results"),
    tensorboard: Tensorboard = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show runs, time, memory and disk; train nothing.")
    ] = False,
    force: Force = False,
) -> int:
    """Train what the pages need, then write the pages with their tables and figures.

    After an interruption, the same command continues.
    """
    validation.require_at_least(1, MOST_SEEDS, seeds=seeds)
    validation.require_at_least(1, jobs=jobs)
    validation.check_output_dir(out)
    validation.require_choice("executor", [executor], EXECUTORS)
    if address is not None and executor != "ray":
        raise UserError("--address is of a Ray cluster: add --executor ray, or leave it out")
    names = page_names(pages, profile)
    from subspace_bench.cli.executors import open_executor
    from subspace_bench.cli.progress import ProgressDisplay, distinct_labels
    from subspace_bench.experiments import STUDIES, Evidence, Plan
    from subspace_bench.records.committed import committed_store
    from subspace_bench.records.mirror import Mirror
    from subspace_bench.records.store import Store
    from subspace_bench.training import runner
    from subspace_bench.training.cluster import needs
    from subspace_bench.training.cost import plan_workload
    from subspace_bench.training.preflight import choose_jobs

    console, store = make_console(), Store(out / "runs")
    requested = Plan(profile, seeds, device=validation.resolve_device(device))
    if plan:
        print_location(requested.dataset, data, console)
    else:
        validation.check_writable(store.folder)
        requested = replace(requested, dataset=load_dataset(requested.dataset, data, console))
    mirrored = None if mirror is None or plan else Mirror(mirror)
    if mirrored is not None:
        mirrored.merge(store.folder)

    local, committed = list(store.records()), list(committed_store().records())
    cases = {name: STUDIES[name].cases(requested) for name in names}
    workload = plan_workload(cases, local, committed, retrain=force)
    labels = distinct_labels(workload.costs)
    if plan:
        title = f"Runs of {', '.join(names)}, profile {profile}"
        print_table(console, title, run_table(workload, labels))
    pending = list(workload.pending)
    cluster = None
    if executor == "local" or plan:
        jobs = choose_jobs({labels[run]: workload.costs[run] for run in pending}, jobs)
    elif pending:
        pending.reverse()  # longest first: no long run starts when the others have ended
        cluster = open_executor(
            executor, lambda run: needs(run, workload.costs[run]), address, jobs, out / "jobs"
        )
        jobs = cluster.slots
    jobs = jobs or 1
    console.print(summarize(workload, jobs))
    if plan:
        return 0

    scalars = Scalars(tensorboard)
    disk = sum(cost.disk for cost in workload.pending_costs)
    validation.check_output_dir(out, needed=disk)
    if force:
        for run in pending:
            store.discard(run)
            if mirrored is not None:
                mirrored.delete(store.path(run), store.checkpoint(run))
        local = [record for record in local if record.run not in workload.costs]
    evidence = Evidence(requested, committed, local)
    writer = PageWriter(workload, evidence, committed, out, console)
    failures: list[Event[RunConfig]] = []
    try:
        if pending:
            costs = {run: workload.costs[run] for run in pending}
            with ProgressDisplay(console, costs, labels, jobs) as display:

                def on_event(event: Event[RunConfig]) -> None:
                    display.on_event(event)
                    scalars.on_event(event)
                    writer.on_event(event)

                failures = runner.train_all(pending, store, data, jobs, on_event, cluster, mirrored)
    except KeyboardInterrupt:
        writer.finish()
        records = sum(store.path(run).exists() for run in workload.costs)
        checkpoints = sum(store.checkpoint(run).exists() for run in workload.costs)
        return report_interruption(
            f"{records} of {len(workload.costs)} records and {checkpoints} "
            f"checkpoint{'s' * (checkpoints != 1)} are kept in {store.folder}"
        )
    writer.finish()
    return report_failures(failures, labels)


def load_dataset(name: str, root: Path | None, console: Console) -> str:
    """Loads and verifies a dataset, prints its location, and returns its name.

    If MNIST is missing and cannot be downloaded, this is mnist-5k.
    """
    from subspace_bench.datasets import catalog, loading

    dataset = loading.load_or_embedded(name, root)
    if dataset.name == name:
        console.print(f"Data: {name}, {dataset.source}, {catalog.verification(name)}")
    else:
        console.print(
            f"Data: {name} is not available; using {dataset.name}, the 5,000 digits "
            f"{dataset.source}. The results are not comparable with the post."
        )
    return dataset.name


def print_location(name: str, root: Path | None, console: Console) -> None:
    """Prints where the dataset is, without reading or downloading it."""
    from subspace_bench.datasets.locate import locate

    folder = locate(name, root)
    console.print(f"Data: {name}, " + (f"in {folder}" if folder else "would be downloaded"))


def summarize(workload: Workload, jobs: int) -> str:
    """The runs to train and their cost, in one line."""
    from subspace_bench.training.cost import memory_together, wall_seconds

    costs = workload.pending_costs
    idle = ", ".join(name for name, runs in workload.cases.items() if not runs)
    note = f"; {idle}: trained with --profile full only" if idle else ""
    if not workload.costs:
        return f"nothing to train{note}"
    recorded = len(workload.costs) - len(costs)
    records = f"{recorded} of {len(workload.costs)} runs have a local record"
    if not costs:
        return f"{records}: nothing to train{note}"
    return (
        f"{records}, {len(costs)} to train: about {format_duration(wall_seconds(costs, jobs))} "
        f"with {jobs} at a time, {format_bytes(memory_together(costs, jobs))} of memory, "
        f"{format_bytes(sum(cost.disk for cost in costs))} of disk{note}"
    )


def run_table(workload: Workload, labels: dict[RunConfig, str]) -> pd.DataFrame:
    """The table of --plan: every run and its expected cost, recorded ones first."""
    import pandas as pd

    pending = set(workload.pending)
    recorded = [run for run in workload.costs if run not in pending]
    cases = {name: set(runs) for name, runs in workload.cases.items()}
    return pd.DataFrame(
        {
            "run": labels[run],
            "θ_init": run.init,
            "updates": f"{run.protocol.steps:,}",
            "time": format_duration(workload.costs[run].seconds) if run in pending else "recorded",
            "memory": format_bytes(workload.costs[run].memory),
            "disk": format_bytes(workload.costs[run].disk),
            "pages": ", ".join(name for name, runs in cases.items() if run in runs),
        }
        for run in [*recorded, *workload.pending]
    )


class PageWriter:
    """Rewrites a page whenever one of its runs ends, and prints it after the last one."""

    def __init__(
        self,
        workload: Workload,
        evidence: Evidence,
        committed: list[Record],
        out: Path,
        console: Console,
    ) -> None:
        self.evidence, self.committed = evidence, committed
        self.out, self.console = out, console
        pending = set(workload.pending)
        self.missing = {name: pending.intersection(runs) for name, runs in workload.cases.items()}
        self.written: set[str] = set()  # pages with all their runs

    def on_event(self, event: Event[RunConfig]) -> None:
        """Adds the record of a finished run."""
        if event.kind != "done":
            return
        self.evidence = self.evidence.with_local(event.value)
        for name, missing in self.missing.items():
            if event.case in missing:
                missing.discard(event.case)
                self.write(name, complete=not missing)

    def finish(self) -> None:
        """Writes the pages that lack runs or needed none, and the index."""
        from subspace_bench.experiments import STUDIES
        from subspace_bench.experiments.findings import findings
        from subspace_bench.reporting.page_list import write_index

        for name in self.missing:
            if name not in self.written:
                self.write(name)
        index = write_index(self.out, STUDIES, *findings(self.committed))
        self.console.print(f"All pages: {index}")

    def write(self, name: str, complete: bool = True) -> None:
        """Writes one page; draws figures and prints the page only if it is complete."""
        from subspace_bench.experiments import STUDIES
        from subspace_bench.reporting.render import write_page

        if complete:
            self.written.add(name)
        if reason := STUDIES[name].withheld(self.evidence):
            if complete:
                self.console.print(f"{name}: {reason}")
            return
        page = STUDIES[name].page(self.evidence)
        path = write_page(page, self.out, figures=complete)[0]
        if complete:
            print_table(self.console, page.title, next(iter(page.tables.values())))
            for notice in page.notices:
                self.console.print(notice.replace("**", ""))
            self.console.print(str(path))
