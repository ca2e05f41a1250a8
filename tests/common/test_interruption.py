"""Where a signal raises KeyboardInterrupt, in processes of their own: Python's own exit counts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
    (tmp_path / "program.py").write_text(PROGRAM.format(do=do))
    for name in ("imported", "subspace_bench_imported"):
        (tmp_path / f"{name}.py").write_text(IMPORTED)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run([sys.executable, "-m", "program"], env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 7
