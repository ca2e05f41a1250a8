"""Measures the intrinsic dimension of a task: first the baseline, then the search.

d_int is the smallest d at which training in a random subspace reaches a target (Li et al. 2018,
arXiv 1804.08838).
"""

from __future__ import annotations

import contextlib
import itertools
import math
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from pathlib import Path
from typing import Any

from torch import nn

from subspace_bench.common.errors import UserError
from subspace_bench.common.hardware import core_count
from subspace_bench.common.locks import Locked, exclusive
from subspace_bench.dimension.plan import BASELINES, PROJECTOR, RATE_BLOCKS, Plan
from subspace_bench.dimension.result import IntrinsicDimension
from subspace_bench.dimension.search import Estimate, Search
from subspace_bench.dimension.task import Task
from subspace_bench.dimension.trainings import Trainings
from subspace_bench.dimension.trial import Outcome, Trial, carry_out
from subspace_bench.training.worker_pool import WorkerDied, WorkerPool

Progress = Callable[[Trial, Outcome, Trainings], None]
FEWEST_AT_NATIVE = 3  # trainings at d = D, before a search that cannot succeed ends
# What a worker process raises where it cannot load `build` and `train`, or dies.
UNUSABLE = (WorkerDied, pickle.PicklingError, AttributeError, ImportError)


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
    interval_ratio: float | None = None,
    projector: str = PROJECTOR,
    jobs: int = 1,
    scaling: str = "fan-in",
    rates: Sequence[float] = (),
) -> IntrinsicDimension:
    """How many numbers a model needs: the smallest d that reaches a target, with its interval.

    Arguments:
        build: seed → a new module.
        train: (net, seed) → score; it trains `net.parameters()` in place. With `rates`,
            (net, seed, rate=…) → score: the module itself is trained at the default of `rate`.
        higher_is_better: False for a loss.
        name: of the task in the result.
        out: folder that keeps finished trainings; the same call continues with them.
        fraction, threshold, within, trainings, minutes, interval_ratio, projector: see `Plan`.
        jobs: with more than one, worker processes import `build` and `train` from their module.
        scaling, rates: see `Plan`.

    Raises:
        UserError: for bad arguments, or a `build` or `train` that fails (see `trial.carry_out`).
    """
    task = Task(name, build, train, higher_is_better)
    plan = Plan(
        fraction,
        threshold,
        within,
        trainings,
        minutes,
        interval_ratio,
        projector,
        jobs,
        scaling,
        tuple(rates),
    )
    return measure(task, plan, None if out is None else Path(out))


def measure(
    task: Task, plan: Plan, out: Path | None = None, on_outcome: Progress = lambda *_: None
) -> IntrinsicDimension:
    """Trains the baseline, then the d's that `Search` asks for, within the budget.

    Arguments:
        out: folder that keeps finished trainings; those in it are not repeated.
        on_outcome: called after each training, with all that are finished.

    Raises:
        UserError: see `Plan`, `Trainings` and `trial.carry_out`, and if the plan has rates but
            `train` takes none; finished trainings are kept.
    """
    deadline = time.monotonic() + (60 * plan.minutes if plan.minutes else math.inf)
    if plan.rates:
        task.require_rate()
    Trainings(task, plan, out)  # what is to be refused is refused before it waits
    with only_search(task, out, deadline):
        return search(task, plan, Trainings(task, plan, out), on_outcome, deadline)


@contextlib.contextmanager
def only_search(task: Task, folder: Path | None, deadline: float) -> Iterator[None]:
    """Waits until no other process searches for a task in a folder: it would train the same.

    Raises:
        UserError: if another one still does at the deadline.
    """
    if folder is None:
        yield
        return
    path = folder / "trainings" / f"{task.name}.search"
    with contextlib.suppress(OSError):  # which the first write reports
        path.parent.mkdir(parents=True, exist_ok=True)

    def announce() -> None:
        print(f"another process measures {task.name} in {folder}: waiting", file=sys.stderr)

    left = max(0.0, deadline - time.monotonic())
    try:
        with exclusive(path, -1 if math.isinf(left) else left, announce):
            yield
    except Locked as failure:
        raise UserError(f"time is up: {failure}; the same command continues") from failure
    finally:
        with contextlib.suppress(OSError):  # it is not empty, as usual
            path.parent.rmdir()


def search(
    task: Task, plan: Plan, trainings: Trainings, on_outcome: Progress, deadline: float
) -> IntrinsicDimension:
    """Trains what is missing, until a moment of `time.monotonic`."""
    executor: Executor = InProcess() if plan.jobs == 1 else WorkerPool(plan.jobs, stop_seconds=0)
    threads = None if plan.jobs == 1 else max(1, core_count() // plan.jobs)
    pending: dict[Future[Outcome], Trial] = {}
    with executor:
        while True:
            while len(pending) < plan.jobs and time.monotonic() < deadline:
                trial = next_trial(trainings, plan, list(pending.values()))
                if trial is None:
                    break
                future = executor.submit(carry_out, task, trial, plan, threads)
                pending[future] = trial
            if not pending:
                return trainings.result()
            done = wait(pending, return_when=FIRST_COMPLETED).done
            for future in sorted(done, key=lambda future: future.exception() is not None):
                trial = pending.pop(future)
                outcome = outcome_of(future, trial)
                trainings.add(trial, outcome)
                on_outcome(trial, outcome, trainings)


def outcome_of(future: Future[Outcome], trial: Trial) -> Outcome:
    """The outcome of a finished training.

    Raises:
        UserError: if it failed.
    """
    try:
        return future.result()
    except UNUSABLE as failure:
        reason = (str(failure).splitlines() or [""])[0]
        raise UserError(
            f"a worker process could not train {trial.label}: {type(failure).__name__}: {reason}. "
            "With several jobs, build and train must stand in a file, and fit into memory together"
        ) from failure


def next_trial(trainings: Trainings, plan: Plan, running: Sequence[Trial]) -> Trial | None:
    """What to train next, while `running` are being trained; None if nothing is to be started."""
    trials = [*trainings.outcomes, *running]
    baselines = {trial.seed for trial in trials if trial.dim is None}
    if len(baselines) < BASELINES:
        return Trial(None, _unused(baselines))
    if len(trainings.baseline) < BASELINES:
        return None  # the target depends on those that are running
    if len(trials) >= BASELINES + plan.trainings:
        return None
    if plan.comparison:
        missing = trainings.rate_study().missing()
        if missing:  # the rate of the others depends on those that are running
            return next((trial for trial in missing if trial not in running), None)
    search = trainings.search()
    estimate = search.estimate()
    compared = not plan.comparison or trainings.rate_study().table() is not None
    if compared and estimate is not None and is_settled(search, estimate, plan):
        return None
    dim = search.ask(len(running))
    if dim is None:
        return Trial(None, _unused(baselines))
    used = {trial.seed for trial in trials if trial.dim is not None}
    reserved = range(RATE_BLOCKS if plan.comparison else 0)
    return Trial(dim, _unused(used.union(reserved)), trainings.rate)


def is_settled(search: Search, estimate: Estimate, plan: Plan) -> bool:
    """Whether the interval is narrow enough, or it is clear that no d reaches the target."""
    narrow = plan.interval_ratio is not None and estimate.interval_ratio <= plan.interval_ratio
    beyond = estimate.dimension is None and estimate.low == search.native
    return narrow or (beyond and search.dims.count(search.native) >= FEWEST_AT_NATIVE)


def _unused(seeds: set[int]) -> int:
    return next(seed for seed in itertools.count() if seed not in seeds)


class InProcess(Executor):
    """Carries out each call in this process, when it is submitted: one job, and notebooks."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as failure:
            future.set_exception(failure)
        return future
