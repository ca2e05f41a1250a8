"""Measures what `subspace-bench check` promises: results/regression-runs.csv, then regression.md.

    python -m benchmarks.promise train     # trains what is missing; hours; goes on where it stopped
    python -m benchmarks.promise checks    # real checks of unchanged code, on seeds of their own
    python -m benchmarks.promise page      # the page, from what those two left

False alarms: checks drawn from a pool of unchanged runs, reference and new numbers disjoint, by
`checking.check` itself. Power: faults of benchmarks/faults. The first numbers of each fault and run
are those that a check would ask for, for one real verdict; those after them measure, apart from the
gate, what the fault does.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pandas as pd

from benchmarks.faults import FAULTS
from subspace_bench import engines
from subspace_bench.data import load_or_embedded
from subspace_bench.machine import cores
from subspace_bench.regression import checking, suite
from subspace_bench.regression.flow import REMEDY, Work, belongs
from subspace_bench.regression.reference import load
from subspace_bench.terminal import console

RESULTS = Path("results")
RUNS, CHECKS = RESULTS / "regression-runs.csv", RESULTS / "regression-checks.csv"
REFERENCE = RESULTS / "regression.toml"
UNCHANGED = "none"  # the fault of the pool
CHUNK = 25  # seeds that one process trains
ALPHA = 0.01
COLUMNS = {
    RUNS: ("fault", "run", "seed", "accuracy"),
    # A row for each run of a check; the seconds are those of the whole check.
    CHECKS: ("check", "run", "first seed", "n", "difference", "p", "verdict", "seconds"),
}


def stored(path: Path) -> pd.DataFrame:
    """What a csv of ours holds; an empty frame where there is none."""
    if not path.exists():
        return pd.DataFrame(columns=list(COLUMNS[path]))
    return pd.read_csv(path, keep_default_na=False)


def append(path: Path, *rows: Sequence[object]) -> None:
    """More rows, with the head first where the file is new."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([COLUMNS[path]] if new else [])
        writer.writerows(rows)


def missing(pool: int, seeds: int, faults: Sequence[str]) -> list[tuple[str, list[checking.Task]]]:
    """(fault, tasks) for one process each: the pool's first, seeds in turn over all runs."""
    have = set(stored(RUNS)[["fault", "run", "seed"]].itertuples(index=False, name=None))
    parts = []
    for first in range(0, pool, CHUNK):
        tasks = [(n, s) for n in suite.runs() for s in range(first, min(first + CHUNK, pool))]
        parts.append((UNCHANGED, tasks))
    for fault in faults:
        numbers = range(checking.FIRST_SEED, checking.FIRST_SEED + seeds)
        parts.append((fault, [(name, seed) for name in FAULTS[fault].measured for seed in numbers]))
    left = [(f, [t for t in tasks if (f, *t) not in have]) for f, tasks in parts]
    return [(fault, tasks) for fault, tasks in left if tasks]


def train(pool: int, seeds: int, faults: Sequence[str]) -> None:
    """Trains what the page lacks, a process a core, and keeps every number as it comes."""
    parts, lock = missing(pool, seeds, faults), threading.Lock()
    print(f"{sum(len(tasks) for _, tasks in parts)} runs in {len(parts)} processes", flush=True)

    def one_process(part: tuple[str, list[checking.Task]]) -> None:
        fault, tasks = part
        began = time.monotonic()
        command = [sys.executable, "-m", "benchmarks.promise", "one", fault, json.dumps(tasks)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            with lock:
                append(RUNS, json.loads(line))
        code = process.wait()
        took = time.monotonic() - began
        said = f"exit code {code}" if code else f"{took / len(tasks):.1f} s a run"
        print(f"{fault}: {len(tasks)} runs, {said}", flush=True)

    with ThreadPoolExecutor(cores()) as workers:
        list(workers.map(one_process, parts))


def one(fault: str, tasks: Sequence[checking.Task]) -> None:
    """The body of such a process: plants the fault, trains, prints a line of JSON for each run."""
    if fault != UNCHANGED:
        FAULTS[fault].plant()
    from subspace_bench.train import train as train_one

    named = suite.runs()
    for name, seed in tasks:
        try:
            record = train_one(replace(named[name], seed=seed), engines.load("mnist", None))
            value = record.result.get("accuracy_end", "diverged")
            value = "diverged" if "diverged" in record.result else value
        except Exception as failure:  # a fault may well end in one
            value = type(failure).__name__
        print(json.dumps([fault, name, seed, value]), flush=True)


def checks(count: int) -> None:
    """Real checks of unchanged code, each on seeds that no other check and no reference has."""
    references = load(REFERENCE, REMEDY)
    dataset = load_or_embedded()
    belongs(references, dataset)
    measure = Work(REFERENCE, None, cores(), console()).measurer(dataset)
    for i in range(stored(CHECKS)["check"].nunique(), count):
        first = 2_000_000 + 1_000 * i
        began = time.monotonic()
        outcomes = checking.check(references, measure, ALPHA, first=first)
        took = round(time.monotonic() - began, 1)
        append(CHECKS, *((i, o.name, first, *judgement(o), took) for o in outcomes))


def judgement(outcome: checking.Outcome) -> tuple[int, float | str, float | str, str]:
    """How many numbers, their difference in points and p (empty where not judged), the verdict."""
    decision = outcome.decision
    if decision is None:
        return len(outcome.values), "", "", outcome.verdict
    return len(outcome.values), round(decision.difference, 4), decision.p, outcome.verdict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train")
    training.add_argument("--pool", type=int, default=420)
    training.add_argument("--seeds", type=int, default=32)
    training.add_argument("--faults", nargs="*", default=list(FAULTS))
    commands.add_parser("checks").add_argument("--count", type=int, default=20)
    commands.add_parser("page")
    single = commands.add_parser("one")
    single.add_argument("fault")
    single.add_argument("tasks", type=json.loads)
    chosen = parser.parse_args()
    if chosen.command == "train":
        train(chosen.pool, chosen.seeds, chosen.faults)
    elif chosen.command == "checks":
        checks(chosen.count)
    elif chosen.command == "one":
        one(chosen.fault, chosen.tasks)
    else:
        from benchmarks import promise_page

        promise_page.write(RESULTS)


if __name__ == "__main__":
    main()
