"""Signals to real processes: nothing but the last seconds of training is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from subspace_bench.datasets.dataset import Dataset
from subspace_bench.records.store import Store
from subspace_bench.training.loop import train

pytestmark = pytest.mark.skipif(os.name == "nt", reason="process groups and signals of POSIX")

TERMINATIONS = 4
ARGUMENTS = (
    *(sys.executable, "-m", "subspace_bench", "train", "--model", "mlp-16", "--dim", "20"),
    *("--dataset", "mnist-5k", "--device", "cpu", "--steps", "1500"),
)


def start(out: Path, *prefix: str) -> subprocess.Popen[str]:
    """A training in a group of its own."""
    return subprocess.Popen(
        [*prefix, *ARGUMENTS, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=restore_signals,
    )


def restore_signals() -> None:
    """A shell's background jobs, as these tests may be, ignore SIGINT, and under nohup SIGHUP."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def await_line(process: subprocess.Popen[str], beginning: str) -> None:
    """Reads output until a line begins so."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(beginning):
            return
    raise AssertionError(process.communicate())


def await_line_or_end(process: subprocess.Popen[str], beginning: str) -> None:
    """As `await_line`, where the training may have ended already."""
    assert process.stdout is not None
    next((line for line in process.stdout if line.startswith(beginning)), None)


def require_all_ended(group: int) -> None:
    """No process of the group runs after seconds; some containers keep orphans as zombies."""
    end = time.monotonic() + 10
    while left := [p for p in psutil.process_iter() if is_running(p, group)]:
        assert time.monotonic() < end, left
        time.sleep(0.05)


def is_running(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


@pytest.mark.slow
def test_terminated_at_random_moments_the_record_is_the_same(
    tmp_path: Path, digits: Dataset
) -> None:
    moments = random.Random(0)
    for _ in range(TERMINATIONS):
        process = start(tmp_path)
        if moments.random() < 0.5:
            time.sleep(moments.uniform(0, 4))
        else:
            await_line_or_end(process, "update")
            time.sleep(moments.uniform(0, 1))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        output = process.communicate(timeout=60)
        require_all_ended(process.pid)
        # Before the command line is loaded, the signal has its default effect.
        assert process.returncode in (0, 130, -signal.SIGTERM), output
        assert "Traceback" not in output[1]
        names = [path.name for path in (tmp_path / "runs").glob("*")]
        assert all(name.endswith((".json", ".checkpoint")) for name in names), names
    process = start(tmp_path)
    output = process.communicate(timeout=120)
    assert process.returncode == 0, output
    [record] = Store(tmp_path / "runs").records()
    assert record.result == train(record.run, digits).result


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_the_whole_group_keeps_the_checkpoint(tmp_path: Path, number: int) -> None:
    process = start(tmp_path)
    await_line(process, "update     101")
    os.killpg(process.pid, number)
    time.sleep(0.05)
    os.killpg(process.pid, number)  # impatience must not cost the checkpoint
    output, errors = process.communicate(timeout=60)
    require_all_ended(process.pid)
    assert process.returncode == 130, (output, errors)
    [checkpoint] = (tmp_path / "runs").iterdir()
    assert checkpoint.suffix == ".checkpoint"
    assert str(checkpoint) in errors


@pytest.mark.slow
def test_under_nohup_a_hangup_is_ignored(tmp_path: Path) -> None:
    process = start(tmp_path, "nohup")
    await_line(process, "update     101")
    os.killpg(process.pid, signal.SIGHUP)
    output = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert len(list(Store(tmp_path / "runs").records())) == 1
