"""Measures what `subspace-bench check` promises: results/regression-runs.csv, then regression.md.

    python -m subspace_bench.regression.validation train   # what is missing; hours; resumes
    python -m subspace_bench.regression.validation checks  # real checks of unchanged code
    python -m subspace_bench.regression.validation page    # the page, from what those two left

False alarms: checks drawn from a pool of unchanged runs, reference and new numbers disjoint, by
`checking.check` itself. Power: faults of `mutations`, each with one real verdict on seeds
that no other fault has, two first, more where in doubt; what the fault does is measured apart, on
further seeds of its own.
"""

from __future__ import annotations

import csv
import functools
import inspect
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import CodeType

import pandas as pd

from subspace_bench.cli.check_flow import REMEDY
from subspace_bench.common.files import digest
from subspace_bench.datasets.loading import load_or_embedded
from subspace_bench.regression import check as checking
from subspace_bench.regression import suite
from subspace_bench.regression.reference import Reference, load
from subspace_bench.regression.validation.mutations import MUTATIONS

RESULTS = Path("results")
RUNS, CHECKS = RESULTS / "regression-runs.csv", RESULTS / "regression-checks.csv"
REFERENCE = RESULTS / "regression.toml"
UNCHANGED = "none"  # the fault of the pool
FAULTY, BLOCK = 10_000_000, 1_000  # the first seed of faults; seeds that each has for its own
EFFECT = 500  # in such a block, the first seed by which the effect is measured
Cell = tuple[str, str, int]  # fault, run, seed
ALPHA = 0.01
COLUMNS = {
    RUNS.name: ("fault", "run", "seed", "accuracy", "of"),
    # A row for each run of a check; the seconds are those of the whole check.
    CHECKS.name: ("check", "run", "first seed", "n", "difference", "p", "verdict", "seconds", "of"),
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
    """(fault, run, seed) → what it came to, of the runs and the faults as they are now."""
    return {
        (str(fault), str(run), int(seed)): str(value)
        for fault, run, seed, value, of in stored(RUNS).itertuples(index=False)
        if of == identity(str(fault), str(run))
    }


@functools.cache
def identity(fault: str, run: str) -> str:
    """Of data, protocol, numerics and the fault's text with its helpers; "" for what is no more."""
    named, dataset = suite.runs(), load_or_embedded()
    if run not in named or fault not in (UNCHANGED, *MUTATIONS):
        return ""
    text = "" if fault == UNCHANGED else source(MUTATIONS[fault].plant)
    return digest({**suite.identity(named[run], dataset), "fault": text})[:8]


def source(function: Callable[..., object]) -> str:
    """The text of a function, and of what it uses of this package, each once."""
    texts: dict[str, str] = {}

    def add(found: object) -> None:
        inner = inspect.unwrap(found) if inspect.isfunction(found) else None
        if inner is None or not inner.__module__.startswith("subspace_bench.regression.validation"):
            return
        name = f"{inner.__module__}.{inner.__qualname__}"
        if name not in texts:
            texts[name] = inspect.getsource(inner)
            for used in sorted(names_in(inner.__code__)):
                add(inner.__globals__.get(used))

    add(function)
    return "\n".join(texts.values())


def names_in(code: CodeType) -> set[str]:
    """Names that a function, and what is defined in it, looks up outside."""
    nested = [part for part in code.co_consts if isinstance(part, CodeType)]
    return set(code.co_names).union(*map(names_in, nested))


def checks_made() -> pd.DataFrame:
    """The real checks against the reference as it is now."""
    made = stored(CHECKS)
    return made[made["of"] == reference_identity()]


def reference_identity() -> str:
    """Of the values that checks are held against, and of what they are of."""
    found = load(REFERENCE, REMEDY)
    return digest({name: [list(r.values), dict(r.identity)] for name, r in found.items()})[:8]


def first_seed(fault: str) -> int:
    """Of the check of a planted fault; its effect is measured from EFFECT seeds further on."""
    return FAULTY + BLOCK * (zlib.crc32(fault.encode()) % 1_000_000)


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
    measured = MUTATIONS[fault].measured

    def measure(tasks: Sequence[checking.Task]) -> checking.Measured:
        lacking = [t for t in tasks if t[0] in measured and (fault, *t) not in numbers]
        if lacking:
            raise Lacking(lacking)
        return {
            (name, seed): number(numbers[fault, name, seed]) if name in measured
            else references[name].values[seed - first_seed(fault)]
            for name, seed in tasks
        }  # fmt: skip

    outcomes = checking.check(references, measure, ALPHA, first_seed(fault))
    return [outcome for outcome in outcomes if outcome.name in measured]


def number(stored: str) -> float | str:
    """An accuracy, or why there is none."""
    try:
        return float(stored)
    except ValueError:
        return stored
