"""The stored trials: accuracies of unchanged and mutated runs, and checks based on them.

Checks resampled from many unchanged runs, with disjoint reference and new values, measure false
positives. Mutations measure power: each has one sequential check on its own seeds, and its effect
is measured on other seeds.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypedDict

import pandas as pd

from subspace_bench.common.files import digest
from subspace_bench.common.schema import Fraction, Natural, Pattern, Range, Seconds
from subspace_bench.datasets.loading import load_or_embedded
from subspace_bench.records.table import KeyedTable
from subspace_bench.regression import check as checking
from subspace_bench.regression import suite
from subspace_bench.regression.reference import Reference, load
from subspace_bench.regression.sequential import Design
from subspace_bench.regression.validation import digests
from subspace_bench.regression.validation.mutations import MUTATIONS

RESULTS = Path("results")
RUNS, CHECKS = RESULTS / "regression-runs.csv", RESULTS / "regression-checks.csv"
REFERENCE = RESULTS / "regression.toml"
UNCHANGED = "none"  # replaces the mutation's name in trials of unchanged code
FIRST_SEED, BLOCK = 10_000_000, 1_000  # of all mutations; number of seeds reserved for each
EFFECT = 500  # the first seed of a block on which the effect is measured
ALPHA = 0.01
Trial = tuple[str, str, int]  # mutation, run, seed
Digest = Annotated[str, Pattern("[0-9a-f]{8}")]


@dataclass(frozen=True)
class AccuracyOrReason:
    """Text that is a percentage, or else the reason why there is none."""

    def __call__(self, text: str) -> bool:
        value = parse_accuracy(text)
        return bool(text) if isinstance(value, str) else 0 <= value <= 100

    def __str__(self) -> str:
        return "a percentage or a reason"


class TrialRow(TypedDict):
    """The columns of RUNS."""

    mutation: str
    run: str
    seed: Natural
    accuracy: Annotated[str, AccuracyOrReason()]
    digest: Digest


CheckRow = TypedDict(
    "CheckRow",
    {
        "check": Natural,
        "run": str,
        "first seed": Natural,
        "n": Natural,
        "difference": Annotated[float, Range(-100, 100)] | None,
        "p": Fraction | None,
        "verdict": Literal["no change found", "changed", "not judged"],
        "seconds": Seconds,
        "digest": Digest,
    },
)


def runs_table() -> KeyedTable:
    """The stored trials; the digest shows whether a mutation has changed."""
    return KeyedTable(RUNS, TrialRow, ("mutation", "run", "seed"))


def checks_table() -> KeyedTable:
    """The real checks: one row per run; the seconds are for the whole check."""
    return KeyedTable(CHECKS, CheckRow, ("check", "run"))


def accuracies() -> dict[Trial, float | str]:
    """The accuracy in %, or why there is none, of all trials of current runs and mutations."""
    return {
        (mutation, run, seed): parse_accuracy(row["accuracy"])
        for (mutation, run, seed), row in runs_table().rows.items()
        if row["digest"] == trial_digest(mutation, run)
    }


def parse_accuracy(text: str) -> float | str:
    """The number, or the text if it is not a number but a reason."""
    try:
        return float(text)
    except ValueError:
        return text


@functools.cache
def trial_digest(mutation: str, run: str) -> str:
    """A digest of data, protocol, numerics and the mutation's code; "" for unknown names."""
    named, dataset = suite.runs(), load_or_embedded()
    if run not in named or mutation not in (UNCHANGED, *MUTATIONS):
        return ""
    code = "" if mutation == UNCHANGED else digests.digest_of(MUTATIONS[mutation].apply)
    return digest({**suite.identity(named[run], dataset), "mutation": code})[:8]


def checks_made() -> pd.DataFrame:
    """The real checks against the current reference."""
    present = reference_digest()
    return pd.DataFrame([r for r in checks_table().rows.values() if r["digest"] == present])


def reference_digest() -> str:
    """A digest of the reference's values and identities."""
    references = load(REFERENCE, suite.REMEDY)
    return digest({n: [list(r.values), dict(r.identity)] for n, r in references.items()})[:8]


def first_seed(mutation: str) -> int:
    """The first seed of a mutation's check; its effect is measured from EFFECT seeds further on."""
    return FIRST_SEED + BLOCK * (zlib.crc32(mutation.encode()) % 1_000_000)


def design_of(references: Mapping[str, Reference], run: str) -> Design:
    """The test of a run when a check tests all runs together."""
    return Design(ALPHA, len(references), len(references[run].values))


def minimum_detectable_effect(
    references: Mapping[str, Reference], run: str, direction: float
) -> float:
    """The minimum detectable effect of a run, in points, when a check tests all runs together.

    Arguments:
        direction: negative for a drop, else a rise.
    """
    drop, rise = design_of(references, run).minimum_detectable_effects(references[run].values)
    return drop if direction < 0 else rise


class MissingTrials(Exception):
    """Raised if a check needs trials that are not stored: `tasks`, as (run, seed)."""

    def __init__(self, tasks: list[checking.Task]) -> None:
        self.tasks = tasks


def check_mutation(
    mutation: str, references: Mapping[str, Reference], accuracies: Mapping[Trial, float | str]
) -> list[checking.Outcome]:
    """The check of a mutation, as `subspace-bench check` would decide, on its measured runs.

    The other runs get the values of the reference itself, as if the mutation did not affect them.

    Raises:
        MissingTrials: if it needs trials that are not stored.
    """
    measured, start = MUTATIONS[mutation].measured, first_seed(mutation)

    def measure(tasks: Sequence[checking.Task]) -> checking.Results:
        missing = [t for t in tasks if t[0] in measured and (mutation, *t) not in accuracies]
        if missing:
            raise MissingTrials(missing)
        return {
            (run, seed): accuracies[mutation, run, seed]
            if run in measured
            else references[run].values[seed - start]
            for run, seed in tasks
        }

    outcomes = checking.check(references, measure, ALPHA, start)
    return [outcome for outcome in outcomes if outcome.name in measured]
