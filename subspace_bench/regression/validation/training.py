"""Trains the trials that are missing and makes real checks; both resume where they stopped."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace

from subspace_bench.common.errors import UserError
from subspace_bench.common.hardware import core_count
from subspace_bench.datasets.mnist import load_or_embedded
from subspace_bench.regression import check as checking
from subspace_bench.regression import suite
from subspace_bench.regression.reference import load
from subspace_bench.regression.validation import trials
from subspace_bench.regression.validation.mutations import MUTATIONS
from subspace_bench.regression.validation.trials import EFFECT, UNCHANGED, MissingTrials
from subspace_bench.training import executor

CHUNK = 25  # trials that one process trains
Part = tuple[str, list[checking.Task]]  # mutation, tasks


def missing_parts(pool: int, seeds: int, mutations: Sequence[str]) -> list[Part]:
    """What is not stored yet, in parts for one process each.

    Arguments:
        pool: unchanged runs of each kind are trained for the seeds up to this one.
        seeds: how many measure the effect of a mutation.
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
        parts += [(mutation, tasks[i : i + CHUNK]) for i in range(0, len(tasks), CHUNK)]
    return parts


def train(pool: int, seeds: int, mutations: Sequence[str]) -> None:
    """Trains and stores what is missing, part by part."""
    suite.check_identity(load(trials.REFERENCE, suite.REMEDY), load_or_embedded())
    context = multiprocessing.get_context("spawn")
    while parts := missing_parts(pool, seeds, mutations):
        print(f"{sum(len(tasks) for _, tasks in parts)} runs in {len(parts)} parts", flush=True)
        failed = False
        # A mutation stays in its process, so each part gets a new one.
        with ProcessPoolExecutor(core_count(), context, max_tasks_per_child=1) as workers:
            futures = {workers.submit(train_part, *part): part for part in parts}
            for future in as_completed(futures):
                mutation, tasks = futures[future]
                if failure := future.exception():
                    print(f"{mutation}: {failure}", file=sys.stderr)
                    failed = True
                    continue
                trials.append(
                    trials.RUNS,
                    *(
                        (mutation, run, seed, value, trials.trial_digest(mutation, run))
                        for (run, seed), value in zip(tasks, future.result(), strict=True)
                    ),
                )
                print(f"{mutation}: {len(tasks)} runs", flush=True)
        if failed:
            sys.exit("some parts failed, see above; the same command resumes")


def train_part(mutation: str, tasks: Sequence[checking.Task]) -> list[float | str]:
    """Applies a mutation to this process and trains; the accuracy of each task, or why none."""
    if mutation != UNCHANGED:
        MUTATIONS[mutation].apply()
    from subspace_bench.training import loop

    named = suite.runs()
    values: list[float | str] = []
    for name, seed in tasks:
        try:
            record = loop.train(replace(named[name], seed=seed), executor.load("mnist", None))
            diverged = "diverged" in record.result
            values.append("diverged" if diverged else float(record.result["accuracy_end"]))
        except Exception as failure:
            # An error is a result of a mutation, unless it cannot come from one.
            if mutation == UNCHANGED or isinstance(failure, (UserError, MemoryError, OSError)):
                raise
            values.append(executor.describe(failure))
    return values


def make_checks(count: int) -> None:
    """Makes real checks of unchanged code, each on seeds of its own."""
    references, dataset = load(trials.REFERENCE, suite.REMEDY), load_or_embedded()
    suite.check_identity(references, dataset)
    trainer = suite.Trainer(dataset, None, core_count(), lambda event: None)
    for i in range(trials.checks_made()["check"].nunique(), count):
        first = 2_000_000 + 1_000 * i
        began = time.monotonic()
        outcomes = checking.check(references, trainer, trials.ALPHA, first)
        seconds = round(time.monotonic() - began, 1)
        digest = trials.reference_digest()
        rows = [(i, o.name, first, *_judgement(o), seconds, digest) for o in outcomes]
        trials.append(trials.CHECKS, *rows)
        print(checking.frame(outcomes).to_string(index=False), flush=True)


def _judgement(outcome: checking.Outcome) -> tuple[int, float | str, float | str, str]:
    """Number of values, difference in points and p (empty if not judged), verdict."""
    decision = outcome.decision
    if decision is None:
        return len(outcome.values), "", "", outcome.verdict
    return len(outcome.values), round(decision.difference, 4), decision.p, outcome.verdict
