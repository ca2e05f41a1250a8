"""Trains missing trials and runs real checks; both resume where they stopped."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from subspace_bench.common.errors import UserError
from subspace_bench.common.hardware import core_count
from subspace_bench.datasets.loading import load_or_embedded
from subspace_bench.regression import check as checking
from subspace_bench.regression import report, suite
from subspace_bench.regression.reference import load
from subspace_bench.regression.validation import trials
from subspace_bench.regression.validation.mutations import MUTATIONS
from subspace_bench.regression.validation.trials import EFFECT, UNCHANGED, MissingTrials
from subspace_bench.training.executor import Event, WorkerPool, describe_failure, emit, run_all
from subspace_bench.training.runner import load_dataset

CHUNK = 25  # trials that one process trains
Part = tuple[str, tuple[checking.Task, ...]]  # mutation, tasks


def missing_parts(pool: int, seeds: int, mutations: Sequence[str]) -> list[Part]:
    """The missing trials, in parts for one process each.

    Arguments:
        pool: unchanged runs are trained for all seeds below this one.
        seeds: number of seeds that measure the effect of a mutation.
    """
    references, stored = load(trials.REFERENCE, suite.REMEDY), trials.accuracies()
    known = min(len(reference.values) for reference in references.values())
    needed = {UNCHANGED: [(name, s) for s in range(known, pool) for name in suite.runs()]}
    for mutation in mutations:
        start = trials.first_seed(mutation) + EFFECT
        measured = MUTATIONS[mutation].measured
        needed[mutation] = [(name, start + i) for name in measured for i in range(seeds)]
        try:
            trials.check_mutation(mutation, references, stored)
        except MissingTrials as missing:
            needed[mutation] += missing.tasks
    parts = []
    for mutation, tasks in needed.items():
        tasks = [task for task in tasks if (mutation, *task) not in stored]
        parts += [(mutation, tuple(tasks[i : i + CHUNK])) for i in range(0, len(tasks), CHUNK)]
    return parts


def train(pool: int, seeds: int, mutations: Sequence[str]) -> None:
    """Trains missing trials and stores each when it is done."""
    suite.require_identity(load(trials.REFERENCE, suite.REMEDY), load_or_embedded())
    while parts := missing_parts(pool, seeds, mutations):
        print(f"{sum(len(tasks) for _, tasks in parts)} runs in {len(parts)} parts", flush=True)
        # A mutation stays in its process, so each part gets a new one.
        with WorkerPool(core_count(), tasks_per_worker=1) as workers:
            failures = run_all(parts, train_part, workers, store_event)
        if failures:
            sys.exit(f"{len(failures)} parts failed, see above; the same command resumes")


def train_part(part: Part) -> None:
    """Applies a mutation to this process and trains; emits each task with its result."""
    mutation, tasks = part
    if mutation != UNCHANGED:
        MUTATIONS[mutation].apply()
    from subspace_bench.training import loop

    named = suite.runs()
    for name, seed in tasks:
        try:
            record = loop.train(replace(named[name], seed=seed), load_dataset("mnist", None))
            diverged = "diverged" in record.result
            result = "diverged" if diverged else str(record.result["accuracy_end"])
        except Exception as failure:
            # An error is a result of the mutation, unless a mutation cannot cause it.
            if mutation == UNCHANGED or isinstance(failure, (UserError, MemoryError, OSError)):
                raise
            result = describe_failure(failure)
        emit((name, seed, result))


def store_event(event: Event[Part]) -> None:
    """Stores a finished trial, or prints a finished part."""
    mutation, tasks = event.case
    if event.kind == "progress":
        name, seed, result = event.value
        row = {"mutation": mutation, "run": name, "seed": seed, "accuracy": result}
        trials.runs_table().put(row | {"digest": trials.trial_digest(mutation, name)})
    elif event.kind in ("done", "failed"):
        result = f"{len(tasks)} runs" if event.kind == "done" else event.reason
        print(f"{mutation}: {result}", flush=True)


def make_checks(count: int) -> None:
    """Runs real checks of unchanged code, each on new seeds."""
    references, dataset = load(trials.REFERENCE, suite.REMEDY), load_or_embedded()
    suite.require_identity(references, dataset)
    table, digest = trials.checks_table(), trials.reference_digest()
    trainer = suite.Trainer(dataset, None, core_count(), lambda event: None)
    for i in range(len(trials.checks_made()) // len(references), count):
        first = 2_000_000 + 1_000 * i
        began = time.monotonic()
        outcomes = checking.check(references, trainer, trials.ALPHA, first)
        seconds = round(time.monotonic() - began, 1)
        rows = [{"check": i, "run": o.name, "first seed": first, **_judgement(o)} for o in outcomes]
        table.put(*(row | {"seconds": seconds, "digest": digest} for row in rows))
        print(report.frame(outcomes).to_string(index=False), flush=True)


def _judgement(outcome: checking.Outcome) -> dict[str, object]:
    """Number of values, difference in points, p and verdict; empty cells if not judged."""
    decision = outcome.decision
    difference, p = (round(decision.difference, 4), decision.p) if decision else (None, None)
    return {
        "n": len(outcome.values), "difference": difference, "p": p, "verdict": outcome.verdict
    }  # fmt: skip
