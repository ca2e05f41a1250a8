"""Training as submitit's jobs, with its local executor."""

from __future__ import annotations

import functools
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
from cluster_runs import RUNS, needs, train_often_saved

from subspace_bench.datasets.embedded import embedded_digits
from subspace_bench.records.store import Store
from subspace_bench.training.loop import train
from subspace_bench.training.runner import train_all
from subspace_bench.training.submitit_executor import SubmititExecutor
from subspace_bench.training.worker_pool import WorkerDied

LONG = RUNS[0].with_steps(8_000)


@pytest.fixture(autouse=True)
def importable(monkeypatch) -> None:
    """Jobs find this project's tests, too."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


def task_of(job) -> psutil.Process:
    """The process that trains."""
    [process] = psutil.Process(job._process.pid).children()
    return process


def wait_for_checkpoint(store: Store) -> None:
    end = time.monotonic() + 90
    while not store.checkpoint(LONG).exists():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_jobs_write_the_same_records(expected, tmp_path: Path) -> None:
    store, executor = Store(tmp_path / "runs"), SubmititExecutor(needs, tmp_path / "jobs", 2)
    assert train_all(RUNS[::4], store, None, 1, lambda event: None, executor) == []
    assert {record.run: record.result for record in store.records()} == {
        run: expected[run] for run in RUNS[::4]
    }


def test_a_job_at_its_time_limit_is_queued_again(tmp_path: Path) -> None:
    task = functools.partial(train_often_saved, folder=tmp_path)
    with SubmititExecutor(needs, tmp_path / "jobs") as executor:
        future = executor.submit(task, LONG)
        [job] = executor.jobs
        wait_for_checkpoint(Store(tmp_path))
        first = task_of(job)
        first.send_signal(signal.SIGUSR2)  # as Slurm does before the limit
        assert future.result(120).result == train(LONG, embedded_digits()).result
        assert "Requeued" in job.stdout()


def test_a_job_that_is_killed_fails_in_one_line(tmp_path: Path) -> None:
    with SubmititExecutor(needs, tmp_path / "jobs") as executor:
        future = executor.submit(functools.partial(train_often_saved, folder=tmp_path), LONG)
        [job] = executor.jobs
        wait_for_checkpoint(Store(tmp_path))
        task_of(job).kill()
        with pytest.raises(WorkerDied, match=r"^[^\n]*$"):
            future.result(60)
    assert Store(tmp_path).checkpoint(LONG).exists()
