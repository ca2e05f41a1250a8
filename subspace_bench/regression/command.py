"""`subspace-bench check`: its options."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from subspace_bench import checks
from subspace_bench.machine import cores
from subspace_bench.options import INTERRUPTED, Data
from subspace_bench.terminal import console

LEAST_SEEDS = 40


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
    seeds: Annotated[int, typer.Option(help="Of a new reference.")] = LEAST_SEEDS,
    alpha: Annotated[float, typer.Option(help="Chance of an alarm where nothing moved.")] = 0.01,
    jobs: Annotated[int | None, typer.Option(help="Runs at a time; else one a core.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="A .md or .xml (JUnit) file for the outcome, or its stem.")
    ] = None,
    data: Data = None,
) -> int:
    """Has accuracy moved? Train reference runs again, two seeds first, more where in doubt.

    Exit code 0: within; 1: moved, up or down; 2: could not be judged.
    """
    checks.at_least(LEAST_SEEDS, seeds=seeds)
    checks.at_least(1, jobs=jobs)
    checks.share(alpha=alpha)
    from subspace_bench.regression import flow

    work = flow.Work(reference, data, jobs or cores(), console())
    try:
        if rebase:
            return flow.rebase(work, seeds)
        return flow.exact(work) if exact else flow.check(work, alpha, report)
    except KeyboardInterrupt:
        print("\ninterrupted: nothing was judged or written", file=sys.stderr)
        return INTERRUPTED
