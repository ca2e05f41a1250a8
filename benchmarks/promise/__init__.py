"""Measures what `subspace-bench check` promises: results/regression-runs.csv, then regression.md.

    python -m benchmarks.promise train     # trains what is missing; hours; goes on where it stopped
    python -m benchmarks.promise checks    # real checks of unchanged code, on seeds of their own
    python -m benchmarks.promise page      # the page, from what those two left

False alarms: checks drawn from a pool of unchanged runs, reference and new numbers disjoint, by
`checking.check` itself. Power: faults of benchmarks/faults, each with one real verdict, from the
seeds that a check asks for, two first, more where in doubt; what the fault does is measured apart,
on seeds of its own.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from benchmarks.faults import FAULTS
from subspace_bench.regression import checking
from subspace_bench.regression.reference import Reference

RESULTS = Path("results")
RUNS, CHECKS = RESULTS / "regression-runs.csv", RESULTS / "regression-checks.csv"
REFERENCE = RESULTS / "regression.toml"
UNCHANGED = "none"  # the fault of the pool
EFFECT = checking.FIRST_SEED + 1_000  # the first seed by which a fault's effect is measured
Cell = tuple[str, str, int]  # fault, run, seed
ALPHA = 0.01
COLUMNS = {
    RUNS.name: ("fault", "run", "seed", "accuracy"),
    # A row for each run of a check; the seconds are those of the whole check.
    CHECKS.name: ("check", "run", "first seed", "n", "difference", "p", "verdict", "seconds"),
}


def stored(path: Path) -> pd.DataFrame:
    """What a csv of ours holds; an empty frame where there is none."""
    if not path.exists():
        return pd.DataFrame(columns=list(COLUMNS[path.name]))
    return pd.read_csv(path, keep_default_na=False)


def append(path: Path, *rows: Sequence[object]) -> None:
    """More rows, with the head first where the file is new."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([COLUMNS[path.name]] if new else [])
        writer.writerows(rows)


def numbers() -> dict[Cell, str]:
    """(fault, run, seed) → what it came to."""
    frame = stored(RUNS)
    return {(str(f), str(r), int(s)): str(v) for f, r, s, v in frame.itertuples(index=False)}


class Lacking(Exception):
    """A check asks for numbers that are not trained yet."""

    def __init__(self, tasks: list[checking.Task]) -> None:
        self.tasks = tasks


def gate(
    fault: str, references: Mapping[str, Reference], numbers: Mapping[Cell, str]
) -> list[checking.Outcome]:
    """What a check says of a planted fault, of the runs on which it is measured.

    The others count as unchanged: a check goes on as if it had found the reference's own numbers.

    Raises:
        Lacking: where numbers that it asks for are not trained yet.
    """
    measured = FAULTS[fault].measured

    def measure(tasks: Sequence[checking.Task]) -> checking.Measured:
        lacking = [t for t in tasks if t[0] in measured and (fault, *t) not in numbers]
        if lacking:
            raise Lacking(lacking)
        return {
            (name, seed): number(numbers[fault, name, seed]) if name in measured
            else references[name].values[seed - checking.FIRST_SEED]
            for name, seed in tasks
        }  # fmt: skip

    outcomes = checking.check(references, measure, ALPHA)
    return [outcome for outcome in outcomes if outcome.name in measured]


def number(stored: str) -> float | str:
    """An accuracy, or why there is none."""
    try:
        return float(stored)
    except ValueError:
        return stored
