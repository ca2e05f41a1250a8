"""The command line: options in, one function of the package called, exit codes out.

Torch and pandas are imported inside the commands, so that every --help answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import Abort, TyperException

from subspace_bench import __version__
from subspace_bench.cli.check import check
from subspace_bench.cli.compare import compare
from subspace_bench.cli.options import (
    BAD_INPUT,
    FAILED_RUNS,
    INTERRUPTED,
    Data,
    Device,
    Force,
    Out,
    Profile,
    Tables,
    this_command,
)
from subspace_bench.common import validation
from subspace_bench.common.errors import UserError, describe_os_error
from subspace_bench.common.formatting import make_console, print_table
from subspace_bench.common.hardware import core_count
from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Store

if TYPE_CHECKING:
    from subspace_bench.training.executor import Event


class Commands(TyperGroup):
    """The commands; an interruption that none of them answered had begun nothing that goes on."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print(f"\ninterrupted. To start again: {this_command()}", file=sys.stderr)
            return INTERRUPTED


app = typer.Typer(
    cls=Commands,
    help="Training networks in random subspaces, θ = θ₀ + Pω: every table and figure of the 2017 "
    "post, trained again.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 1 runs failed, 2 bad input, 130 interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a kill ends as Ctrl-C does
    try:
        code = app(arguments, prog_name="subspace-bench", standalone_mode=False)
    except UserError as failure:
        code = complain(str(failure))
    except TyperException as failure:
        code = complain(failure.format_message()) if failure.format_message() else BAD_INPUT
    except BrokenPipeError:  # the reader of our output has gone: nothing to say, nobody to hear it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as failure:
        code = complain(describe_os_error(failure))
    except Abort:
        code = INTERRUPTED
    sys.exit(code or 0)


def complain(message: str) -> int:
    """One line on stderr."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return BAD_INPUT


def version(wanted: bool) -> None:
    if wanted:
        print(f"subspace-bench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Show it and exit.")
    ] = False,
) -> None: ...


@app.command()
def reproduce(
    tables: Tables = None,
    seeds: Annotated[int, typer.Option(help="Runs of each training: seeds 0, 1, …")] = 1,
    profile: Profile = "post",
    device: Device = "auto",
    jobs: Annotated[
        int | None, typer.Option(help="Runs at a time; else one a core, if memory is there.")
    ] = None,
    data: Data = None,
    out: Out = Path("results"),
    plan: Annotated[
        bool, typer.Option("--plan", help="Show runs, time, memory and disk; train nothing.")
    ] = False,
    force: Force = False,
) -> int:
    """Train what the tables need, and write tables and figures.

    Interrupted, the same command goes on where it was.
    """
    validation.require_at_least(1, seeds=seeds, jobs=jobs)
    validation.check_output_dir(out)
    from subspace_bench.cli import reproduce_flow as flow
    from subspace_bench.experiments import Plan

    names = table_names(tables, profile)
    screen, own = make_console(), Store(out / "runs")
    wanted = Plan(profile, seeds, device=validation.resolve_device(device))
    if plan:
        screen.print(flow.where_data_are(wanted, data))
    else:
        validation.check_writable(own.folder)
        wanted = flow.dataset_of(wanted, data, screen)
    work = flow.gather(names, wanted, own, force)
    jobs = flow.fitting_jobs(work, jobs or core_count())
    if plan:
        print_table(screen, f"Runs of {', '.join(names)}, profile {profile}", flow.listing(work))
    screen.print(flow.summary(work, jobs))
    if plan:
        return 0
    validation.check_output_dir(out, needed=sum(cost.disk for cost in work.expected))
    try:
        failures = flow.train_and_show(work, own, data, out, jobs, screen)
    except KeyboardInterrupt:
        records = sum(own.path(run).exists() for run in work.costs)
        checkpoints = sum(own.checkpoint(run).exists() for run in work.costs)
        return interrupted(
            f"{records} of {len(work.costs)} records and {checkpoints} "
            f"checkpoint{'s' * (checkpoints != 1)} are kept in {own.folder}"
        )
    return said(failures, work.labels)


@app.command()
def train(
    model: Annotated[str, typer.Option(help="A name that `list` shows.")] = "conv",
    dim: Annotated[
        int | None, typer.Option(help="Subspace dimension d; left out, θ itself is trained.")
    ] = None,
    projector: Annotated[str, typer.Option(help="orthonormal (the post's) or another.")] = (
        "orthonormal"
    ),
    origin: Annotated[
        str | None,
        typer.Option(help="zero: θ = Pω, as in the post; init: θ = θ_init + Pω, as in Li et al."),
    ] = None,
    init: Annotated[
        str | None, typer.Option(help='Scheme, as "normal:0.005"; else the post\'s own.')
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all random streams.")] = 0,
    epochs: Annotated[int, typer.Option(help="The post's: 60,000 images each.")] = 10,
    steps: Annotated[int | None, typer.Option(help="Updates, instead of --epochs.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate; else the post's.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images a batch; else the post's.")] = None,
    dataset: Annotated[str, typer.Option(help="mnist, mnist-5k or fashion-mnist.")] = "mnist",
    device: Device = "auto",
    threads: Annotated[int, typer.Option(help="Of the CPU; part of what the run is.")] = 1,
    data: Data = None,
    out: Out = Path("results"),
    force: Force = False,
) -> int:
    """Train one net, by default as the post does, and keep its record."""
    validation.require_at_least(0, seed=seed)
    validation.require_at_least(1, epochs=epochs, steps=steps, batch=batch, threads=threads)
    validation.require_positive(lr=lr)
    validation.require_choice("origin", [origin] if origin else [], ("zero", "init"))
    validation.check_output_dir(out)
    from subspace_bench.cli import train_flow

    changes: dict[str, Any] = {"lr": lr, "batch": batch}
    run = train_flow.post_like(
        model, dim, projector, origin, init, epochs, steps, changes,
        seed=seed, device=validation.resolve_device(device), threads=threads, dataset=dataset,
    )  # fmt: skip
    from subspace_bench.training.preflight import check_trainable

    check_trainable(run)
    own = Store(out / "runs")
    validation.check_writable(own.folder)
    screen = make_console()
    try:
        return said(train_flow.train_one(run, own, data, screen, force), {run: run.label})
    except KeyboardInterrupt:
        if own.checkpoint(run).exists() and not own.path(run).exists():
            return interrupted(f"its checkpoint is kept: {own.checkpoint(run)}")
        raise


@app.command()
def report(
    tables: Tables = None,
    profile: Profile = "post",
    dataset: Annotated[str, typer.Option(help="mnist, mnist-5k or fashion-mnist.")] = "mnist",
    out: Out = Path("results"),
    committed_only: Annotated[
        bool, typer.Option("--committed-only", help="Leave your own records out.")
    ] = False,
) -> int:
    """Write tables and figures again from the records, without training."""
    validation.check_output_dir(out)
    names = table_names(tables, profile)
    from subspace_bench.datasets.catalog import require_dataset
    from subspace_bench.experiments import STUDIES, Evidence, Plan
    from subspace_bench.records.committed import committed_store
    from subspace_bench.reporting.index import write_index
    from subspace_bench.reporting.render import write_page

    require_dataset(dataset)
    own = None if committed_only else Store(out / "runs")
    evidence = Evidence(Plan(profile, dataset=dataset), committed_store(), own)
    for name in names:
        if reason := STUDIES[name].withheld(evidence):
            print(f"{name}: {reason}")
        else:
            print(*write_page(STUDIES[name].page(evidence), out), sep="\n")
    print(write_index(out, STUDIES))
    return 0


@app.command(name="list")
def list_(out: Out = Path("results")) -> int:
    """Show tables, models, projectors, and how many records there are."""
    from subspace_bench.cli import train_flow
    from subspace_bench.records.committed import committed_store

    screen = make_console()
    stores = {"reference": committed_store(), "yours": Store(out / "runs")}
    for title, frame in train_flow.inventory(stores):
        print_table(screen, title, frame)
    return 0


@app.command()
def data(
    data: Data = None,
    dataset: Annotated[str, typer.Option(help="mnist, mnist-5k or fashion-mnist.")] = "mnist",
) -> int:
    """Say where the data were found and whether they verify; fetch them where they are not."""
    from subspace_bench.datasets import catalog, download, loading, locate

    catalog.require_dataset(dataset)
    variable = os.environ.get(locate.VARIABLE)
    named = data or (Path(variable).expanduser() if variable else None)
    downloadable = named is not None and dataset in catalog.FOLDERS
    if named and downloadable and locate.missing_files(locate.raw_folder(dataset, named)):
        download.download(dataset, named)
    loaded = loading.load(dataset, data)
    print(f"{dataset}: {loaded.where}, {catalog.VERIFICATION[dataset]}")
    print(f"{len(loaded.train_labels):,} images to train on, {len(loaded.test_labels):,} to test")
    print(f"SHA-256 of all: {loaded.digest}")
    return 0


app.command()(compare)
app.command()(check)


def table_names(given: list[str] | None, profile: str) -> list[str]:
    """The tables asked for, or all; names and profile are checked."""
    from subspace_bench.experiments import STUDIES
    from subspace_bench.experiments.study import PROFILES

    validation.require_choice("profile", [profile], PROFILES)
    validation.require_choice("table", given or [], STUDIES)
    return [name for name in STUDIES if not given or name in given]


def said(failures: list[Event[RunConfig]], labels: Mapping[RunConfig, str]) -> int:
    """The exit code, and a line for each run that failed."""
    for failure in failures:
        print(f"failed: {labels[failure.case]}: {failure.reason}", file=sys.stderr)
    return FAILED_RUNS if failures else 0


def interrupted(kept: str) -> int:
    """Says what is kept and how to go on.

    Without --force, which deleted the records that it trains again: those that there are now stay.
    """
    print(f"\ninterrupted: {kept}. To go on: {this_command(without='--force')}", file=sys.stderr)
    return INTERRUPTED
