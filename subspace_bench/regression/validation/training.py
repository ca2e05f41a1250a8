"""What the page needs is trained: pool, faults, real checks; all of it goes on where it stopped."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from subspace_bench.cli.check_flow import REMEDY, Work, belongs, check
from subspace_bench.common.errors import UserError
from subspace_bench.common.formatting import make_console
from subspace_bench.common.hardware import core_count
from subspace_bench.datasets.loading import load_or_embedded
from subspace_bench.regression import check as checking
from subspace_bench.regression import suite
from subspace_bench.regression.reference import load
from subspace_bench.regression.validation.mutations import MUTATIONS
from subspace_bench.regression.validation.trials import (
    ALPHA,
    CHECKS,
    EFFECT,
    REFERENCE,
    RUNS,
    UNCHANGED,
    Lacking,
    append,
    checks_made,
    first_seed,
    gate,
    identity,
    numbers,
    reference_identity,
)
from subspace_bench.training.executor import describe
from subspace_bench.training.runner import load_dataset

CHUNK = 25  # seeds that one process trains
LOCK = threading.Lock()  # of the file that grows


def missing(pool: int, seeds: int, faults: Sequence[str]) -> list[tuple[str, list[checking.Task]]]:
    """(fault, tasks) for one process each: the pool's first, seeds in turn over all runs."""
    references, have = load(REFERENCE, REMEDY), numbers()
    parts: list[tuple[str, list[checking.Task]]] = []
    known = min(len(reference.values) for reference in references.values())
    for first in range(known, pool, CHUNK):
        tasks = [(n, s) for n in suite.runs() for s in range(first, min(first + CHUNK, pool))]
        parts.append((UNCHANGED, tasks))
    for fault in faults:
        start = first_seed(fault) + EFFECT
        tasks = [(n, start + i) for n in MUTATIONS[fault].measured for i in range(seeds)]
        try:
            gate(fault, references, have)
        except Lacking as lacking:
            tasks += lacking.tasks
        parts.append((fault, tasks))
    left = [(f, [t for t in tasks if (f, *t) not in have]) for f, tasks in parts]
    return [(fault, tasks) for fault, tasks in left if tasks]


def train(pool: int, seeds: int, faults: Sequence[str]) -> None:
    """Trains what the page lacks until nothing is, or some cannot be; keeps every number."""
    belongs(load(REFERENCE, REMEDY), load_or_embedded())
    while parts := missing(pool, seeds, faults):
        print(f"{sum(len(tasks) for _, tasks in parts)} runs in {len(parts)} processes", flush=True)
        with ThreadPoolExecutor(core_count()) as workers:
            ended = list(workers.map(one_process, parts))
        if not all(ended):
            sys.exit("not all was trained: see above; the same command goes on")


def one_process(part: tuple[str, list[checking.Task]]) -> bool:
    """Runs `one` in a process of its own, where a fault stays; whether it trained all."""
    fault, tasks = part
    began = time.monotonic()
    command = [
        sys.executable,
        "-m",
        "subspace_bench.regression.validation",
        "one",
        fault,
        json.dumps(tasks),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            with LOCK:
                row = json.loads(line)
                append(RUNS, (*row, identity(row[0], row[1])))
    took = (time.monotonic() - began) / len(tasks)
    print(f"{fault}: {len(tasks)} runs, {took:.1f} s a run", flush=True)
    return process.returncode == 0


def one(fault: str, tasks: Sequence[checking.Task]) -> None:
    """The body of such a process: plants the fault, trains, prints a line of JSON for each run."""
    if fault != UNCHANGED:
        MUTATIONS[fault].plant()
    from subspace_bench.training.loop import train as train_one

    named = suite.runs()
    for name, seed in tasks:
        try:
            record = train_one(replace(named[name], seed=seed), load_dataset("mnist", None))
            value = record.result.get("accuracy_end", "diverged")
            value = "diverged" if "diverged" in record.result else value
        except Exception as failure:  # a fault may well end in one, but not in one of these
            if fault == UNCHANGED or isinstance(failure, (UserError, MemoryError, OSError)):
                raise
            value = describe(failure)
        print(json.dumps([fault, name, seed, value]), flush=True)


def checks(count: int) -> None:
    """Real checks of unchanged code, each on seeds that no other check and no reference has."""
    work = Work(REFERENCE, None, core_count(), make_console())
    of = reference_identity()
    for i in range(checks_made()["check"].nunique(), count):
        first = 2_000_000 + 1_000 * i
        began = time.monotonic()
        outcomes = check(work, ALPHA, None, first)
        took = round(time.monotonic() - began, 1)
        append(CHECKS, *((i, o.name, first, *judgement(o), took, of) for o in outcomes))


def judgement(outcome: checking.Outcome) -> tuple[int, float | str, float | str, str]:
    """How many numbers, their difference in points and p (empty where not judged), the verdict."""
    decision = outcome.decision
    if decision is None:
        return len(outcome.values), "", "", outcome.verdict
    return len(outcome.values), round(decision.difference, 4), decision.p, outcome.verdict
