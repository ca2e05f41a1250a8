"""`subspace-bench check`: has accuracy changed?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from subspace_bench.cli.options import INTERRUPTED, Data, path_option
from subspace_bench.common import validation
from subspace_bench.common.errors import UserError
from subspace_bench.common.files import write_atomically
from subspace_bench.common.formatting import make_console, print_table
from subspace_bench.common.hardware import core_count
from subspace_bench.regression import FIRST_SEED

if TYPE_CHECKING:
    from rich.console import Console

    from subspace_bench.datasets.dataset import Dataset
    from subspace_bench.records.config import RunConfig
    from subspace_bench.regression.reference import Reference
    from subspace_bench.regression.suite import Trainer
    from subspace_bench.training.executor import Event

MOST_SEEDS = 10_000
SEEDS = 100  # of a reference; 40 are enough, but then only larger shifts are detected


def check(
    reference: Annotated[
        Path | None,
        path_option("Reference file. Default: results/regression.toml, else the package's own."),
    ] = None,
    bitwise: Annotated[
        bool, typer.Option("--bitwise", help="Compare the loss of every step, bit for bit.")
    ] = False,
    update_reference: Annotated[
        bool,
        typer.Option(
            "--update-reference", help="Train a new reference; the file also keeps the old one."
        ),
    ] = False,
    seeds: Annotated[int, typer.Option(help="Seeds of a new reference.")] = SEEDS,
    alpha: Annotated[float, typer.Option(help="False-positive rate of the check.")] = 0.01,
    jobs: Annotated[int | None, typer.Option(help="Runs at a time. Default: one per core.")] = None,
    first_seed: Annotated[
        int, typer.Option(help="First new seed; choose another to repeat a check.")
    ] = FIRST_SEED,
    report: Annotated[
        Path | None,
        path_option("Report file: .md or .xml (JUnit); without a suffix, both."),
    ] = None,
    data: Data = None,
) -> int:
    """Check whether accuracy changed: train the reference runs again on new seeds.

    It starts with two seeds for each run and adds more while inconclusive.
    The check fails if accuracy changed in either direction.
    Its false-positive rate is at most --alpha.

    Exit codes: 0 no change found; 1 changed; 2 could not be judged.
    """
    from subspace_bench.datasets.loading import load_or_embedded
    from subspace_bench.records.committed import REFERENCE, committed_reference
    from subspace_bench.regression import suite
    from subspace_bench.regression.reference import load
    from subspace_bench.training.cost import estimate
    from subspace_bench.training.preflight import choose_jobs

    validation.require_at_least(suite.MIN_SEEDS, MOST_SEEDS, seeds=seeds)
    validation.require_at_least(1, jobs=jobs)
    validation.require_at_least(FIRST_SEED, **{"first-seed": first_seed})
    validation.require_fraction(alpha=alpha)
    for path in report_files(report):
        validation.check_output_file(path, option="--report")
    if update_reference and bitwise:
        raise UserError("--update-reference and --bitwise exclude each other: choose one")
    if reference is None:
        reference = REFERENCE if update_reference or REFERENCE.exists() else committed_reference()
    if update_reference:
        validation.check_output_file(reference, option="--reference")
    console = make_console()
    references = {} if update_reference else load(reference, suite.REMEDY, suite.MIN_SEEDS)
    dataset = load_or_embedded(root=data)
    costs = {name: estimate(run) for name, run in suite.runs(dataset.name).items()}
    repeats = {
        f"{name}, seed {i}": cost for name, cost in costs.items() for i in range(core_count())
    }
    trainer = suite.Trainer(
        dataset, data, choose_jobs(repeats, jobs), lambda event: _print_run(console, event)
    )
    try:
        if update_reference:
            return _update(reference, trainer, seeds, console)
        suite.require_identity(references, dataset)
        if bitwise:
            return _bitwise(references, dataset, report, console)
        return _judge(references, trainer, alpha, first_seed, report, console)
    except KeyboardInterrupt:
        note = "nothing was judged"
        if update_reference:
            note = "finished runs are kept; the same command resumes"
        print(f"\ninterrupted: {note}", file=sys.stderr)
        return INTERRUPTED


def _print_run(console: Console, event: Event[RunConfig]) -> None:
    from subspace_bench.regression import suite

    if event.kind not in ("done", "failed"):
        return
    result = event.reason if event.kind == "failed" else "diverged"
    if event.kind == "done" and event.value.result["accuracy"] is not None:
        result = f"{event.value.result['accuracy']:.2f}%"
    names = {run: name for name, run in suite.runs(event.case.dataset).items()}
    console.print(f"{names[replace(event.case, seed=0)]}, seed {event.case.seed}: {result}")


def _judge(
    references: Mapping[str, Reference],
    trainer: Trainer,
    alpha: float,
    first_seed: int,
    report: Path | None,
    console: Console,
) -> int:
    """Checks, writes the report, prints the check, and returns its exit code."""
    from subspace_bench.regression import check as checking
    from subspace_bench.regression import report as reports
    from subspace_bench.regression.sequential import CHANGED

    outcomes = checking.check(references, trainer, alpha, first_seed)
    write_report(report, reports.markdown(outcomes, alpha), reports.junit(outcomes))
    print_table(console, "Accuracy check", reports.frame(outcomes))
    console.print(checking.method(outcomes, alpha))
    if any(outcome.verdict == CHANGED for outcome in outcomes):
        console.print(
            "The same seeds give the same verdict again. To rule out chance, repeat the check with "
            f"--first-seed {first_seed + FIRST_SEED}"
        )
    return checking.exit_code(outcomes)


def _bitwise(
    references: Mapping[str, Reference], dataset: Dataset, report: Path | None, console: Console
) -> int:
    """Compares losses, writes the report, prints it, and returns the exit code."""
    import pandas as pd

    from subspace_bench.regression import report as reports
    from subspace_bench.regression import suite

    rows, cases, codes = [], [], []
    for name, step in suite.compare_losses(references, dataset).items():
        if isinstance(step, str):
            code, kind, result = 2, "error", f"failed: {step}"
        elif step:
            code, kind, result = 1, "failure", f"first difference at step {step}"
        else:
            code, kind, result = 0, "", "equal"
        codes.append(code)
        cases.append((name, kind, result))
        rows.append({"run": name, "losses": result})
    frame = pd.DataFrame(rows)
    summary = f"Losses are equal in {codes.count(0)} of {len(codes)} runs."
    method = f"Compared: the float32 loss of each of {suite.STEPS} steps of seed 0."
    markdown = reports.page_of("Bitwise check", summary, frame, method)
    write_report(report, markdown, reports.junit_of(cases))
    print_table(console, "Bitwise check", frame)
    return max(codes)


def _update(path: Path, trainer: Trainer, seeds: int, console: Console) -> int:
    """Trains new references and prints them beside the old ones."""
    from subspace_bench.regression import suite
    from subspace_bench.regression.reference import describe_update, load_old
    from subspace_bench.regression.sequential import Design

    old = load_old(path)
    new, moved_to = suite.update(path, trainer, seeds)
    design = Design(family=len(new), reference=seeds)
    for name, reference in new.items():
        drop, rise = design.minimum_detectable_effects(reference.values)
        console.print(
            f"{name}: {describe_update(old.get(name), reference)}; minimum detectable drop "
            f"{drop:.2g}, rise {rise:.2g}"
        )
    if moved_to:
        console.print(f"the old file was damaged or edited by hand: moved to {moved_to}")
    console.print(f"{path}: {len(new)} references of {seeds} seeds; the old ones are its history")
    return 0


def report_files(report: Path | None) -> list[Path]:
    """The markdown and JUnit XML files to write: that of the given suffix; without one, both."""
    if report is None:
        return []
    if report.suffix in (".md", ".xml"):
        return [report]
    return [Path(f"{report}{suffix}") for suffix in (".md", ".xml")]


def write_report(report: Path | None, markdown: str, junit: str) -> None:
    """Writes the report's files."""
    for path in report_files(report):
        write_atomically(path, markdown if path.suffix == ".md" else junit)
