"""`subspace-bench check`: its options."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from subspace_bench.cli.options import INTERRUPTED, Data
from subspace_bench.common import validation
from subspace_bench.common.errors import UserError
from subspace_bench.common.formatting import make_console
from subspace_bench.common.hardware import core_count
from subspace_bench.regression import FIRST_SEED

SEEDS = 100  # of a reference: 40 would do, and find larger shifts only


def check(
    reference: Annotated[Path, typer.Option(help="The file that holds the reference.")] = Path(
        "results/regression.toml"
    ),
    exact: Annotated[
        bool, typer.Option("--bitwise", help="Compare the loss of every step, bit for bit.")
    ] = False,
    rebase: Annotated[
        bool,
        typer.Option(
            "--update-reference", help="Train a new reference; the old one is kept below it."
        ),
    ] = False,
    seeds: Annotated[int, typer.Option(help="Of a new reference.")] = SEEDS,
    alpha: Annotated[float, typer.Option(help="Chance of an alarm where nothing moved.")] = 0.01,
    jobs: Annotated[int | None, typer.Option(help="Runs at a time; else one a core.")] = None,
    first_seed: Annotated[
        int, typer.Option(help="Of the new runs; another, where an alarm may have been chance.")
    ] = FIRST_SEED,
    report: Annotated[
        Path | None,
        typer.Option(help="A .md or .xml (JUnit) file for the outcome; both, without an ending."),
    ] = None,
    data: Data = None,
) -> int:
    """Has accuracy moved? Train reference runs again, two seeds first, more where in doubt.

    Exit code 0: within; 1: moved, up or down; 2: could not be judged.
    """
    from subspace_bench.cli import check_flow
    from subspace_bench.regression import check as checking

    validation.require_at_least(check_flow.FEWEST, seeds=seeds)
    validation.require_at_least(1, jobs=jobs)
    validation.require_at_least(FIRST_SEED, **{"first-seed": first_seed})  # below are references'
    validation.require_fraction(alpha=alpha)
    if report is not None:
        validation.check_output_dir(report.parent, option="--report")
    if rebase and exact:
        raise UserError(
            "--update-reference makes a reference and --bitwise holds losses against one: take one"
        )
    work = check_flow.Work(reference, data, jobs or core_count(), make_console())
    try:
        if rebase:
            check_flow.rebase(work, seeds)
            return 0
        if exact:
            return check_flow.exact(work, report)
        return checking.exit_code(check_flow.check(work, alpha, report, first_seed))
    except KeyboardInterrupt:
        kept = "nothing judged"
        if rebase:
            kept = "runs of committed code are kept, and the same command goes on"
        print(f"\ninterrupted: {kept}", file=sys.stderr)
        return INTERRUPTED
