"""A pytest plug-in: the fixture `accuracy_regression`, for any function from a seed to a number.

    def test_accuracy(accuracy_regression):
        accuracy_regression.check(train)  # train(seed) -> accuracy in %

`pytest --accuracy-update` trains a reference distribution and writes it beside the test, to be
committed. Without it, values of new seeds are compared with the reference: two seeds first, more
only while the verdict is inconclusive.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from subspace_bench.common.errors import UserError

# Every pytest run loads this module, so slow imports are inside functions.
if TYPE_CHECKING:
    from subspace_bench.regression.check import Results, Task

REMEDY = "make one with `pytest --accuracy-update`, and commit it"
PROPERTY = "accuracy_regression"  # of a test's report: lines for the terminal summary
MAX_NAME = 100  # characters of a test's name in its file's name


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("accuracy regression")
    group.addoption(
        "--accuracy-update",
        action="store_true",
        help="train new references for accuracy_regression; the files keep the old ones",
    )
    group.addoption(
        "--accuracy-first-seed",
        type=int,
        metavar="N",
        help="first new seed, 1000000 or more; choose another to repeat a check",
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = terminalreporter.stats.get("passed", [])  # also those of pytest-xdist's workers
    lines = [text for r in reports for key, text in r.user_properties if key == PROPERTY]
    if lines:
        terminalreporter.section("accuracy regression")
        terminalreporter.write_line("\n".join(lines))


class AccuracyRegression:
    """Checks trainings against references: files in a folder named after the test's file."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self.node, self.config = request.node, request.config
        parent = f"{request.cls.__qualname__}." if request.cls else ""
        self.test = f"{parent}{request.node.name}"
        self.folder = request.path.parent / request.path.stem
        self.used: set[Path] = set()

    def check(
        self, train: Callable[[int], float], seeds: int = 20, alpha: float = 0.01, name: str = ""
    ) -> None:
        """Fails the test if the values of a training changed, in either direction.

        Arguments:
            train: a function from a seed to one finite number, such as an accuracy in %. It is
                called with 0, 1, … for a reference and with 1,000,000, 1,000,001, … for a check.
            seeds: of the reference, 10 or more; more of them detect smaller shifts.
            alpha: false-positive rate of this call. A project with k calls has k times the rate:
                divide the rate you accept by k.
            name: of the training, if one test checks several.
        """
        __tracebackhide__ = True
        error = ""
        try:
            if not isinstance(seeds, int):
                raise UserError(f"seeds is {seeds!r}: it must be a whole number")
            if not 0 < alpha < 1:
                raise UserError(f"alpha is {alpha}: it must be a probability between 0 and 1")
            path = self._path(name)
            if self.config.getoption("--accuracy-update"):
                self.node.user_properties.append((PROPERTY, update(path, train, seeds)))
            else:
                first_seed = self.config.getoption("--accuracy-first-seed")
                print(judge(path, train, seeds, alpha, first_seed))  # pytest shows it with -rP
        except UserError as failure:
            error = str(failure)
        if error:  # outside `except`, so that pytest shows no second exception
            pytest.fail(error, pytrace=False)

    def _path(self, name: str) -> Path:
        """The file of a reference; a hash keeps names unique if characters were replaced."""
        full = f"{self.test}.{name}" if name else self.test
        safe = re.sub(r"[^\w.-]+", "-", full)[:MAX_NAME].strip("-")
        suffix = "" if safe == full else f"-{hashlib.sha256(full.encode()).hexdigest()[:8]}"
        path = self.folder / f"{safe}{suffix}.toml"
        if path in self.used:
            raise UserError(f"this test already uses {path}: give each check a name")
        self.used.add(path)
        return path


def judge(
    path: Path, train: Callable[[int], float], seeds: int, alpha: float, first_seed: int | None
) -> str:
    """The table of a check that found no change.

    Raises:
        UserError: if the values changed or cannot be judged, if the reference has fewer than
            `seeds` values, or if the first seed may be one of the reference's.
    """
    from subspace_bench.regression import FIRST_SEED
    from subspace_bench.regression import check as checking
    from subspace_bench.regression.reference import load
    from subspace_bench.regression.sequential import CHANGED, NO_CHANGE

    first_seed = FIRST_SEED if first_seed is None else first_seed
    if first_seed < FIRST_SEED:
        raise UserError(f"--accuracy-first-seed is {first_seed}: it must be {FIRST_SEED} or more")
    reference = load(path, REMEDY).get(path.stem)
    if reference is None:
        raise UserError(f"{path} has no reference of {path.stem}: {REMEDY}")
    if len(reference.values) < seeds:
        raise UserError(f"{path} has {len(reference.values)} seeds, fewer than {seeds}: {REMEDY}")
    outcomes = checking.check(
        {path.stem: reference}, lambda tasks: measure(train, tasks), alpha, first_seed
    )
    table = checking.frame(outcomes).to_string(index=False)
    if outcomes[0].verdict == NO_CHANGE:
        return table
    lines = [outcomes[0].meaning, table, checking.method(outcomes, alpha)]
    if outcomes[0].verdict == CHANGED:
        again = first_seed + FIRST_SEED
        lines.append(f"To rule out chance, repeat the check with --accuracy-first-seed {again}")
    raise UserError("\n".join(lines))


def update(path: Path, train: Callable[[int], float], seeds: int) -> str:
    """Trains and saves a reference; returns a description of old and new.

    Raises:
        UserError: if there are too few seeds, a training fails, or the file cannot be written.
    """
    from subspace_bench.regression.check import find_failure
    from subspace_bench.regression.reference import (
        MIN_SEEDS,
        Reference,
        describe_update,
        load_old,
        save,
    )

    if seeds < MIN_SEEDS:
        raise UserError(f"a reference needs {MIN_SEEDS} seeds or more, not {seeds}")
    name = path.stem
    values = list(measure(train, [(name, seed) for seed in range(seeds)]).values())
    if failure := find_failure(values):
        raise UserError(f"no reference is saved: {failure}")
    new, old = Reference(tuple(map(float, values))), load_old(path)
    moved_to = save(path, {name: new})
    description = f"{path}: {describe_update(old.get(name), new)}"
    if moved_to:
        description += f"\nthe old file was damaged or edited by hand: moved to {moved_to}"
    return description


def measure(train: Callable[[int], float], tasks: Sequence[Task]) -> Results:
    """The value of every task, or why there is none."""
    from subspace_bench.training.executor import describe_failure

    results: dict[Task, float | str] = {}
    for task in tasks:
        try:
            number: Any = train(task[1])
            if isinstance(number, str | bytes):  # which float() would accept
                raise TypeError(f"{number!r} is not a number")
            results[task] = float(number)
        except Exception as failure:
            results[task] = f"seed {task[1]} raised {describe_failure(failure)}"
    return results


@pytest.fixture
def accuracy_regression(request: pytest.FixtureRequest) -> AccuracyRegression:
    """Compares a training with the reference beside the test: `.check(train)`."""
    return AccuracyRegression(request)
