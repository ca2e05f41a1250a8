"""Carries tasks out as Slurm jobs, or as processes on this machine where there is no Slurm.

A job that reaches its time limit is queued again; its training continues from its checkpoint.
"""

from __future__ import annotations

import functools
import logging
import math
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import submitit

from subspace_bench.common.hardware import core_count
from subspace_bench.training.cluster import ClusterExecutor, Needs, Task, settle
from subspace_bench.training.worker_pool import WorkerDied

SLURM_JOBS = 200  # submitted at once, by default: clusters limit the jobs of a user
POLL_SECONDS = 1.0
LIMIT_MINUTES, LIMIT_FACTOR = 10.0, 3.0  # time limit: 10 minutes + 3 times the expected time
SIGNAL_SECONDS = 30  # from the signal that queues a job again to its end


class Resumable:
    """A task that submitit queues again when its job reaches the time limit."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def __call__(self) -> Any:
        return self.task()

    def checkpoint(self) -> Any:
        """The task to queue again; training has its own checkpoint, a minute old at most."""
        return submitit.helpers.DelayedSubmission(self)


class SubmititExecutor(ClusterExecutor):
    """Submits each call as a job. `sbatch` reads partition and account from $SBATCH_PARTITION etc.

    Arguments:
        needs: from the arguments of a task to what it needs.
        folder: for submitit's files; every machine must see it.
        jobs: jobs that are submitted at once.
        minutes: time limit of each job; None for one from its expected time.
    """

    def __init__(
        self,
        needs: Callable[..., Needs],
        folder: Path,
        jobs: int | None = None,
        minutes: float | None = None,
    ) -> None:
        logging.getLogger("submitit").setLevel(logging.ERROR)
        self.needs, self.minutes = needs, minutes
        self.executor = submitit.AutoExecutor(folder=folder)
        slurm = self.executor.cluster == "slurm"
        self.slots = self.max_workers = jobs or (SLURM_JOBS if slurm else core_count())
        self.jobs: dict[submitit.Job[Any], Future[Any]] = {}
        self.closed = threading.Event()
        self.thread = threading.Thread(target=self.harvest, daemon=True)
        self.thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """The future of fn(*args, **kwargs), run in a job."""
        needed = self.needs(*args, **kwargs)
        minutes = self.minutes or LIMIT_MINUTES + LIMIT_FACTOR * needed.seconds / 60
        self.executor.update_parameters(
            name="subspace-bench",
            cpus_per_task=needed.threads,
            gpus_per_node=needed.gpus,
            mem_gb=math.ceil(needed.memory / 1e9),
            timeout_min=math.ceil(minutes),
            slurm_signal_delay_s=SIGNAL_SECONDS,
        )
        task = Task(pickle.dumps((fn, args, kwargs)), needed.threads)
        future: Future[Any] = Future()
        self.jobs[self.executor.submit(Resumable(task))] = future
        return future

    def harvest(self) -> None:
        """Runs in a thread: sets the futures of jobs that have ended."""
        while not self.closed.wait(POLL_SECONDS):
            for job in [job for job in list(self.jobs) if job.done()]:
                settle(self.jobs.pop(job), functools.partial(outcome, job))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As in `concurrent.futures.Executor`; cancelled jobs keep their last checkpoint."""
        while wait and self.jobs and not cancel_futures:
            self.closed.wait(POLL_SECONDS)
        self.closed.set()
        self.thread.join()
        for job, future in self.jobs.items():
            future.cancel()
            if cancel_futures:
                job.cancel(check=False)


def outcome(job: submitit.Job[Any]) -> Any:
    """What the job's task returned.

    Raises:
        WorkerDied: the job ended without a result.
    """
    try:
        return job.result()
    except Exception as failure:
        reason = (str(failure).strip().splitlines() or ["no result"])[-1]
        raise WorkerDied(f"job {job.job_id}: {reason}; see {job.paths.stderr}") from failure
