"""The fast tests in random order: none depends on another."""

from __future__ import annotations

import functools
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.torture.campaigns import Row, Setting

ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
HERE = Path(__file__).parents[2]


def rows(setting: Setting) -> Iterator[Row]:
    """Each time a shuffle of the files, and of the tests in them; as many at a time as cores."""
    # pytest imports this module before conftest.py, which must come before our package.
    from subspace_bench.common.hardware import core_count

    row = Row("the fast tests in random order")
    seeds = range(setting.seed, setting.seed + int(os.environ.get("ORDERS", "20")))
    tree = setting.work / "tree"  # of the last commit: campaigns write into this one's results/
    subprocess.run(["git", "clone", "-q", str(HERE), str(tree)], check=True)
    with ThreadPoolExecutor(core_count()) as pool:
        for wrong in pool.map(functools.partial(run_tests, tree), seeds):
            row.count(*wrong)
    yield row


def run_tests(tree: Path, seed: int) -> list[str]:
    """Runs the tests of a tree in the order of a seed; those that failed."""
    options = ["-q", "-m", "not slow", "-p", "benchmarks.torture.order"]
    options += ["-p", "no:cacheprovider"]  # two at a time would write the same files
    tests = [str(path.relative_to(tree)) for path in sorted(tree.glob("tests/**/test_*.py"))]
    tests = [path for path in tests if not path.startswith("tests/web")]  # they need a browser
    random.Random(seed).shuffle(tests)
    # This process has one thread of everything, which tests do not expect.
    variables = {name: v for name, v in os.environ.items() if name not in ONE_THREAD}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=tree,
        capture_output=True,
        text=True,
        env={
            **variables,
            "PYTHONPATH": str(tree),
            "OPENBLAS_NUM_THREADS": "1",
            "TORTURE_ORDER": str(seed),
        },
    )
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return (failed or [f"seed {seed}: {done.stdout[-300:]}"]) if done.returncode else []


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Shuffles the tests of each file when pytest loads this module as a plug-in."""
    draw = random.Random(int(os.environ["TORTURE_ORDER"]))
    files: dict[str, list[Any]] = {}
    for item in items:
        files.setdefault(item.location[0], []).append(item)
    for tests in files.values():
        draw.shuffle(tests)
    items[:] = [item for tests in files.values() for item in tests]
