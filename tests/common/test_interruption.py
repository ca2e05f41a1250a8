"""Where a signal raises KeyboardInterrupt, and how long it counts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from subspace_bench.common.interruption import (
    AGAIN_SECONDS,
    handled_signals,
    raise_if_interrupted,
)

PROGRAM = """
import os, signal, sys, time
from subspace_bench.common import interruption

interruption.PATIENCE_SECONDS = 2

def interrupt():
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(9):
        pass

class Descriptor:
    def __set_name__(self, owner, name):
        interrupt()

def wait():
    for _ in range(600):
        time.sleep(0.1)

with interruption.handled_signals():
    try:
        {do}
        wait()
    except KeyboardInterrupt:
        sys.exit(7)
"""


IMPORTED = """
from __main__ import Descriptor, wait

class Owner:
    attribute = Descriptor()  # Python replaces an exception in __set_name__ by RuntimeError

wait()
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(
    "do",
    [
        "interrupt()",
        "exec('interrupt()')",
        # As a dataclass of ours does. CPython would end by SIGINT after the exception was caught.
        "exec('interrupt()', {'interrupt': interrupt, '__name__': 'subspace_bench.records'})",
        "import imported",  # which never ends
        "import subspace_bench_imported",  # taken for ours
    ],
)
def test_a_signal_is_caught_in_any_code(do: str, tmp_path: Path) -> None:
    """In a process of its own: Python's own exit counts."""
    (tmp_path / "program.py").write_text(PROGRAM.format(do=do))
    for name in ("imported", "subspace_bench_imported"):
        (tmp_path / f"{name}.py").write_text(IMPORTED)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run([sys.executable, "-m", "program"], env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 7


def receive() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(5)  # ends at the signal


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_what_runs_after_an_interrupted_command_is_not_interrupted() -> None:
    with pytest.raises(KeyboardInterrupt), handled_signals():
        receive()
    raise_if_interrupted()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_signal_that_was_answered_is_not_sent_again_to_the_caller(monkeypatch) -> None:
    class Loses:
        def __del__(self) -> None:
            receive()

    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    monkeypatch.setattr(sys, "unraisablehook", lambda ignored: None)  # else pytest fails
    try:
        with handled_signals():
            Loses()
            with pytest.raises(KeyboardInterrupt):
                raise_if_interrupted()
        time.sleep(3 * AGAIN_SECONDS)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == []


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_signal_counts_until_the_outermost_command_ends() -> None:
    with handled_signals():
        with suppress(KeyboardInterrupt), handled_signals():
            receive()
        with handled_signals(), pytest.raises(KeyboardInterrupt):
            raise_if_interrupted()
        with pytest.raises(KeyboardInterrupt):
            raise_if_interrupted()
