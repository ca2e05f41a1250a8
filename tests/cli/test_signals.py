"""A training that is interrupted, hung up on and killed, in real processes: nothing is lost.

`benchmarks/torture` does this at random moments, with forked commands.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from command_line import TINY, command

from subspace_bench.datasets.dataset import Dataset
from subspace_bench.records.store import Store
from subspace_bench.training.loop import train

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="process groups and signals of POSIX"),
]


def start(arguments: tuple[str, ...], *prefix: str) -> subprocess.Popen[str]:
    """A command in a process group of its own."""
    return subprocess.Popen(
        [*prefix, *command(*arguments)],
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


def await_update(process: subprocess.Popen[str], update: int) -> None:
    """Reads output until the score after so many updates, or a later one."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("update") and int(line.split()[1].replace(",", "")) >= update:
            return
    raise AssertionError(process.communicate())


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code and errors, once every process of its group has ended."""
    errors = process.communicate(timeout=60)[1]
    deadline = time.monotonic() + 10
    while left := [p for p in psutil.process_iter() if is_running(p, process.pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    return process.returncode, errors


def is_running(process: psutil.Process, group: int) -> bool:
    """Whether it is in the group; some containers keep orphans as zombies."""
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


@pytest.mark.usefixtures("forked_workers")  # of the last command, which is in this process
def test_interrupted_and_killed_the_same_command_ends_with_the_same_record(
    call, tmp_path: Path, digits: Dataset
) -> None:
    arguments = (*TINY, "--dim", "20", "--steps", "2000", "--out", str(tmp_path))

    process = start(arguments, "nohup")
    await_update(process, 101)
    os.killpg(process.pid, signal.SIGHUP)  # nohup has set it to be ignored
    await_update(process, 201)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal's Ctrl-C: to every process
    time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # impatience must not cost the checkpoint
    code, errors = end(process)
    assert code == 130
    assert "Traceback" not in errors
    [checkpoint] = (tmp_path / "runs").iterdir()
    assert checkpoint.suffix == ".checkpoint"
    assert str(checkpoint) in errors
    assert f": subspace-bench {' '.join(arguments)}" in errors

    process = start(arguments)
    await_update(process, 401)
    os.killpg(process.pid, signal.SIGKILL)
    assert end(process)[0] == -signal.SIGKILL
    assert not list((tmp_path / "runs").glob("*.json"))
    assert checkpoint.exists()

    code, out, _ = call(*arguments)
    assert code == 0
    assert "update       1 " not in out
    [record] = Store(tmp_path / "runs").records()
    assert record.result == train(record.run, digits).result
    assert [path.suffix for path in (tmp_path / "runs").iterdir()] == [".json"]


@pytest.mark.parametrize("seconds", [0.02, 1.5])
def test_terminated_while_it_starts_it_ends(tmp_path: Path, seconds: float) -> None:
    process = start((*TINY, "--out", str(tmp_path)))
    time.sleep(seconds)
    process.terminate()
    code, errors = end(process)
    # Before the command line is loaded, the signal has its default effect.
    assert code in (130, -signal.SIGTERM)
    assert "Traceback" not in errors
