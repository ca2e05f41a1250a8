"""`subspace-bench check`: its options."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from subspace_bench import checks
from subspace_bench.errors import UserError
from subspace_bench.machine import cores
from subspace_bench.options import INTERRUPTED, Data
from subspace_bench.regression import FIRST_SEED
from subspace_bench.terminal import console

SEEDS = 100  # of a reference: 40 would do, and find larger shifts only


def check(
    reference: Annotated[Path, typer.Option(help="The file that holds the reference.")] = Path(
        "results/regression.toml"
    ),
    exact: Annotated[
        bool, typer.Option("--exact", help="Compare the loss of every step, bit for bit.")
    ] = False,
    rebase: Annotated[
        bool, typer.Option("--rebase", help="Train a new reference; the old one is kept below it.")
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
    from subspace_bench.regression import checking, flow

    checks.at_least(flow.FEWEST, seeds=seeds)
    checks.at_least(1, jobs=jobs)
    checks.at_least(FIRST_SEED, **{"first-seed": first_seed})  # below are references'
    checks.share(alpha=alpha)
    if report is not None:
        checks.place(report.parent, option="--report")
    if rebase and exact:
        raise UserError("--rebase makes a reference and --exact holds losses against one: take one")
    work = flow.Work(reference, data, jobs or cores(), console())
    try:
        if rebase:
            flow.rebase(work, seeds)
            return 0
        if exact:
            return flow.exact(work, report)
        return checking.exit_code(flow.check(work, alpha, report, first_seed))
    except KeyboardInterrupt:
        kept = "nothing judged"
        if rebase:
            kept = "runs of committed code are kept, and the same command goes on"
        print(f"\ninterrupted: {kept}", file=sys.stderr)
        return INTERRUPTED
