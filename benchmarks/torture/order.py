"""The fast tests in random order: none depends on another."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.torture.campaigns import Row, Setting

HERE = Path(__file__).parents[2]


def rows(setting: Setting) -> Iterator[Row]:
    """Each time a shuffle of the files, and of the tests in them."""
    row = Row("the fast tests in random order")
    for seed in range(setting.seed, setting.seed + int(os.environ.get("ORDERS", "20"))):
        options = ["-q", "-x", "-m", "not slow", "-p", "benchmarks.torture.order"]
        tests = [str(path.relative_to(HERE)) for path in sorted(HERE.glob("tests/**/test_*.py"))]
        random.Random(seed).shuffle(tests)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *tests],
            cwd=HERE,
            capture_output=True,
            text=True,
            env={**os.environ, "TORTURE_ORDER": str(seed)},
        )
        failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
        failed = failed or [f"seed {seed}: {done.stdout[-300:]}"]
        row.count(*(failed if done.returncode else ()))
    yield row


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Shuffles the tests of each file when pytest loads this module as a plug-in."""
    draw = random.Random(int(os.environ["TORTURE_ORDER"]))
    files: dict[str, list[Any]] = {}
    for item in items:
        files.setdefault(item.location[0], []).append(item)
    for tests in files.values():
        draw.shuffle(tests)
    items[:] = [item for tests in files.values() for item in tests]
