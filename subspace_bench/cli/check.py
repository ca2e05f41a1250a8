"""`subspace-bench check`: has accuracy changed?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from subspace_bench.cli.options import INTERRUPTED, Data
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

SEEDS = 100  # of a reference; 40 are enough, but then only larger shifts are detected


def check(
    reference: Annotated[Path, typer.Option(help="Reference file.")] = Path(
        "results/regression.toml"
    ),
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
        typer.Option(help="Report file: .md or .xml (JUnit); without a suffix, both."),
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
    from subspace_bench.regression import suite
    from subspace_bench.regression.reference import load

    validation.require_at_least(suite.MIN_SEEDS, seeds=seeds)
    validation.require_at_least(1, jobs=jobs)
    validation.require_at_least(FIRST_SEED, **{"first-seed": first_seed})
    validation.require_fraction(alpha=alpha)
    if report is not None:
        validation.check_output_dir(report.parent, option="--report")
    if update_reference and bitwise:
        raise UserError("--update-reference and --bitwise exclude each other: choose one")
    console = make_console()
    references = {} if update_reference else load(reference, suite.REMEDY, suite.MIN_SEEDS)
    dataset = load_or_embedded(root=data)
    trainer = suite.Trainer(
        dataset, data, jobs or core_count(), lambda event: _print_run(console, event)
    )
    try:
        if update_reference:
            return _update(reference, trainer, seeds, console)
        suite.require_identity(references, dataset)
        if bitwise:
            code, markdown, junit = _bitwise(references, dataset, console)
        else:
            code, markdown, junit = _judge(references, trainer, alpha, first_seed, console)
    except KeyboardInterrupt:
        note = "nothing was judged"
        if update_reference:
            note = "finished runs are kept; the same command resumes"
        print(f"\ninterrupted: {note}", file=sys.stderr)
        return INTERRUPTED
    _write_report(report, markdown, junit)
    return code


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
    console: Console,
) -> tuple[int, str, str]:
    """Prints the check; returns its exit code and its report as markdown and JUnit XML."""
    from subspace_bench.regression import check as checking
    from subspace_bench.regression.sequential import CHANGED

    outcomes = checking.check(references, trainer, alpha, first_seed)
    code = checking.exit_code(outcomes)
    print_table(console, "Accuracy check", checking.frame(outcomes))
    console.print(checking.method(outcomes, alpha))
    if any(outcome.verdict == CHANGED for outcome in outcomes):
        console.print(
            "The same seeds give the same verdict again. To rule out chance, repeat the check with "
            f"--first-seed {first_seed + FIRST_SEED}"
        )
    return code, checking.markdown(outcomes, alpha), checking.junit(outcomes)


def _bitwise(
    references: Mapping[str, Reference], dataset: Dataset, console: Console
) -> tuple[int, str, str]:
    """Prints the comparison; returns its exit code and its report as markdown and JUnit XML."""
    import pandas as pd

    from subspace_bench.regression import check as checking
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
    print_table(console, "Bitwise check", frame)
    summary = f"Losses are equal in {codes.count(0)} of {len(codes)} runs."
    method = f"Compared: the float32 loss of each of {suite.STEPS} steps of seed 0."
    markdown = checking.page_of("Bitwise check", summary, frame, method)
    return max(codes), markdown, checking.junit_of(cases)


def _update(path: Path, trainer: Trainer, seeds: int, console: Console) -> int:
    """Trains new references and prints them beside the old ones."""
    from subspace_bench.regression import suite
    from subspace_bench.regression.reference import describe_update, load_old
    from subspace_bench.regression.sequential import Design

    old = load_old(path)
    new, moved_to = suite.update(path, trainer, seeds)
    effect = Design(family=len(new), reference=seeds).minimum_detectable_effect()
    for name, reference in new.items():
        console.print(
            f"{name}: {describe_update(old.get(name), reference)}; minimum detectable effect "
            f"{effect * reference.sample.sd:.2g}"
        )
    if moved_to:
        console.print(f"the old file was damaged or edited by hand: moved to {moved_to}")
    console.print(f"{path}: {len(new)} references of {seeds} seeds; the old ones are its history")
    return 0


def _write_report(report: Path | None, markdown: str, junit: str) -> None:
    """Writes the report in the format that the suffix names; without a suffix, in both."""
    if report is None:
        return
    texts = {".md": markdown, ".xml": junit}
    if report.suffix in texts:
        write_atomically(report, texts[report.suffix])
        return
    for suffix, text in texts.items():
        write_atomically(Path(f"{report}{suffix}"), text)
