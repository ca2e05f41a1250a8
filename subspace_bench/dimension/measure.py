"""Measures the intrinsic dimension of a task: first the baseline, then the search.

d_int is the smallest d at which training in a random subspace reaches a target (Li et al. 2018,
arXiv 1804.08838).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from pathlib import Path
from typing import Any

from torch import nn

from subspace_bench.common.errors import UserError
from subspace_bench.dimension.plan import BASELINES, PROJECTOR, Plan
from subspace_bench.dimension.result import IntrinsicDimension
from subspace_bench.dimension.search import Estimate
from subspace_bench.dimension.task import Task
from subspace_bench.dimension.trainings import Trainings
from subspace_bench.dimension.trial import Outcome, Trial, carry_out
from subspace_bench.training.worker_pool import WorkerPool

Progress = Callable[[Trial, Outcome, Estimate | None], None]


def intrinsic_dimension(
    build: Callable[[int], nn.Module],
    train: Callable[[nn.Module, int], float],
    *,
    higher_is_better: bool = True,
    name: str = "task",
    out: Path | str | None = None,
    fraction: float = 0.9,
    threshold: float | None = None,
    within: float | None = None,
    trainings: int = 20,
    minutes: float | None = None,
    width: float | None = None,
    projector: str = PROJECTOR,
    jobs: int = 1,
) -> IntrinsicDimension:
    """How many numbers a model needs: the smallest d that reaches a target, with its interval.

    Arguments:
        build: seed → a new module.
        train: (net, seed) → score; it trains `net.parameters()` in place.
        higher_is_better: False for a loss.
        name: of the task in the result.
        out: folder that keeps finished trainings; the same call continues with them.
        fraction, threshold, within, trainings, minutes, width, projector, jobs: see `Plan`. With
            more than one job, `build` and `train` must be importable by worker processes.

    Raises:
        UserError: for bad arguments, or a `build` or `train` that fails (see `trial.carry_out`).
    """
    task = Task(name, build, train, higher_is_better)
    plan = Plan(fraction, threshold, within, trainings, minutes, width, projector, jobs)
    return measure(task, plan, None if out is None else Path(out))


def measure(
    task: Task, plan: Plan, out: Path | None = None, on_outcome: Progress = lambda *_: None
) -> IntrinsicDimension:
    """Trains the baseline, then the d's that `Search` asks for, within the budget.

    Arguments:
        out: folder that keeps finished trainings; those in it are not repeated.
        on_outcome: called after each training, with the estimate so far.

    Raises:
        UserError: see `Plan`, `Trainings` and `trial.carry_out`; finished trainings are kept.
    """
    deadline = time.monotonic() + (60 * plan.minutes if plan.minutes else math.inf)
    trainings = Trainings(task, plan, out)
    executor: Executor = InProcess() if plan.jobs == 1 else WorkerPool(plan.jobs, stop_seconds=0)
    pending: dict[Future[Outcome], Trial] = {}
    with executor:
        while True:
            while len(pending) < plan.jobs and time.monotonic() < deadline:
                trial = next_trial(trainings, plan, list(pending.values()))
                if trial is None:
                    break
                pending[executor.submit(carry_out, task, trial, plan.projector)] = trial
            if not pending:
                return trainings.result()
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                trial = pending.pop(future)
                trainings.add(trial, future.result())
                on_outcome(trial, future.result(), trainings.estimate())


def next_trial(trainings: Trainings, plan: Plan, running: Sequence[Trial]) -> Trial | None:
    """What to train next, while `running` are being trained; None if nothing is to be started."""
    for seed in range(BASELINES):
        trial = Trial(None, seed)
        if trial not in trainings.outcomes and trial not in running:
            return trial
    if any(trial.dim is None for trial in running):
        return None  # the target depends on them
    search = trainings.search()
    count = len(search.dims) + len(running)
    if count >= plan.trainings:
        return None
    estimate = search.estimate()
    if plan.width is not None and estimate is not None and estimate.width <= plan.width:
        return None
    return Trial(search.ask(len(running)), count)


class InProcess(Executor):
    """Carries out each call in this process, when it is submitted: one job, and notebooks."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except UserError as failure:
            future.set_exception(failure)
        return future
