"""A pytest plug-in: the fixture `accuracy_regression`, for any function from a seed to a number.

    def test_accuracy(accuracy_regression):
        accuracy_regression.check(train)  # train(seed) -> accuracy in %

`pytest --accuracy-update` trains a reference distribution and writes it beside the test, to be
committed. Without it, values of new seeds are compared with the reference: two seeds first, more
only while the verdict is inconclusive.

It imports neither torch nor pandas: the distribution in accuracy-regression/ holds this module and
what it imports, for projects that have no use for the rest.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from subspace_bench.common.errors import UserError

# Every pytest run loads this module, so slow imports are inside functions.
if TYPE_CHECKING:
    from subspace_bench.regression.check import Results, Task

REMEDY = "make one with `pytest --accuracy-update`, and commit it"
PROPERTY = "accuracy_regression"  # of a test's report: lines for the terminal summary
COUNTED = "accuracy_regression_check"  # likewise: one for each check that shares accuracy_alpha
ALPHA = 0.01
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
    parser.addini("accuracy_alpha", "false-positive rate of all checks together", default="")
    parser.addini("accuracy_checks", "number of checks that share accuracy_alpha", default="")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = terminalreporter.stats.get("passed", [])  # also those of pytest-xdist's workers
    lines = [text for r in reports for key, text in r.user_properties if key == PROPERTY]
    everything = [r for kind in terminalreporter.stats.values() for r in kind]
    checks = sum(
        key == COUNTED
        for report in everything
        for key, _ in getattr(report, "user_properties", [])
        if getattr(report, "when", "") == "call"
    )
    shared = terminalreporter.config.getini("accuracy_checks")
    if shared.isdecimal() and checks > int(shared):
        lines.append(
            f"{checks} checks ran, but accuracy_checks is {shared}: set it to {checks}, or they "
            "have more than the false-positive rate accuracy_alpha together"
        )
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
        self,
        train: Callable[[int], float],
        seeds: int = 20,
        alpha: float | None = None,
        name: str = "",
        tolerance: float = 0.0,
        higher_is_better: bool = True,
    ) -> None:
        """Fails the test if the values of a training changed, in either direction.

        What `train` raises, it raises.

        Arguments:
            train: a function from a seed to one finite number, such as an accuracy in %. It is
                called with 0, 1, … for a reference and with 1,000,000, 1,000,001, … for a check.
            seeds: of the reference, 10 or more; more of them detect smaller shifts.
            alpha: false-positive rate of this call. Default: the project's `accuracy_alpha`,
                divided by its `accuracy_checks` (both in pytest's configuration), else 1%.
            name: of the training, if one test checks several.
            tolerance: a shift of the values by at most this is no change.
            higher_is_better: False for a loss. A change fails in both directions; this decides
                which one is called worse.
        """
        __tracebackhide__ = True
        error, cause = "", None
        try:
            settings = Settings(
                seeds,
                self._alpha() if alpha is None else alpha,
                tolerance,
                higher_is_better,
                self.config.getoption("--accuracy-first-seed"),
            )
            path = self._path(name)
            if self.config.getoption("--accuracy-update"):
                self.node.user_properties.append((PROPERTY, update(path, train, settings)))
            else:
                print(judge(path, train, settings))  # pytest shows it with -rP
        except UserError as failure:
            error = str(failure)
        except TrainingFailed as failure:
            cause = failure.__cause__
        # Outside `except`, so that pytest shows no second exception.
        if cause is not None:
            raise cause
        if error:
            pytest.fail(error, pytrace=False)

    def _alpha(self) -> float:
        """The share of the project's alpha for one call; counts the call."""
        total, count = (self.config.getini(f"accuracy_{name}") for name in ("alpha", "checks"))
        self.node.user_properties.append((COUNTED, ""))
        try:
            return float(total or ALPHA) / int(count or 1)
        except (ValueError, ZeroDivisionError):
            raise UserError(
                f"accuracy_alpha is {total!r} and accuracy_checks {count!r}: give a probability "
                "and a whole number"
            ) from None

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


class TrainingFailed(Exception):
    """`train` raised; its cause is what."""


@dataclass(frozen=True)
class Settings:
    """The arguments of `AccuracyRegression.check`, and the first new seed if one is given.

    Raises:
        UserError: for one out of its range.
    """

    seeds: int
    alpha: float
    tolerance: float
    higher_is_better: bool
    first_seed: int | None

    def __post_init__(self) -> None:
        if not isinstance(self.seeds, int):
            raise UserError(f"seeds is {self.seeds!r}: it must be a whole number")
        if not 0 < self.alpha < 1:
            raise UserError(f"alpha is {self.alpha}: it must be a probability between 0 and 1")
        if not 0 <= self.tolerance < math.inf:
            raise UserError(f"tolerance is {self.tolerance}: it must be a number from 0 on")


def judge(path: Path, train: Callable[[int], float], settings: Settings) -> str:
    """The result of a check that found no change.

    Raises:
        TrainingFailed: if a training raises.
        UserError: if the values changed or cannot be judged, if the reference has fewer values
            than it should, or if the first seed may be one of the reference's.
    """
    from subspace_bench.regression import FIRST_SEED
    from subspace_bench.regression import check as checking
    from subspace_bench.regression.reference import load
    from subspace_bench.regression.sequential import CHANGED, NO_CHANGE

    first_seed = FIRST_SEED if settings.first_seed is None else settings.first_seed
    if first_seed < FIRST_SEED:
        raise UserError(f"--accuracy-first-seed is {first_seed}: it must be {FIRST_SEED} or more")
    reference = load(path, REMEDY).get(path.stem)
    if reference is None:
        raise UserError(f"{path} has no reference of {path.stem}: {REMEDY}")
    if len(reference.values) < settings.seeds:
        raise UserError(
            f"{path} has {len(reference.values)} seeds, fewer than {settings.seeds}: {REMEDY}"
        )
    [outcome] = checking.check(
        {path.stem: reference},
        lambda tasks: measure(train, tasks),
        settings.alpha,
        first_seed,
        settings.tolerance,
        settings.higher_is_better,
    )
    row = checking.row(outcome)
    lines = [f"{key}: {text}" for key, text in row.items() if text and key != "meaning"]
    if outcome.verdict == NO_CHANGE:
        return "\n".join([*lines, row["meaning"]])
    lines = [outcome.meaning, *lines, checking.method([outcome], settings.alpha)]
    if outcome.verdict == CHANGED:
        again = first_seed + FIRST_SEED
        lines.append(f"To rule out chance, repeat the check with --accuracy-first-seed {again}")
    raise UserError("\n".join(lines))


def update(path: Path, train: Callable[[int], float], settings: Settings) -> str:
    """Trains and saves a reference; returns a description of old and new, and what it can detect.

    Raises:
        TrainingFailed: if a training raises; nothing is saved.
        UserError: if there are too few seeds, a value is not a finite number, or the file cannot
            be written.
    """
    from subspace_bench.regression.check import Outcome, find_failure, make_design
    from subspace_bench.regression.reference import (
        MIN_SEEDS,
        Reference,
        describe_update,
        load_old,
        save,
    )

    name, seeds = path.stem, settings.seeds
    if seeds < MIN_SEEDS:
        raise UserError(f"a reference needs {MIN_SEEDS} seeds or more, not {seeds}")
    values = list(measure(train, [(name, seed) for seed in range(seeds)]).values())
    if failure := find_failure(values):
        raise UserError(f"no reference is saved: {failure}")
    new, old = Reference(tuple(map(float, values))), load_old(path)
    design = make_design(name, new, settings.alpha, 1)
    moved_to = save(path, {name: new})
    description = f"{path}: {describe_update(old.get(name), new)}"
    description += "\n" + Outcome(name, new, design, (), None, "", settings.tolerance).power
    if moved_to:
        description += f"\nthe old file was damaged or edited by hand: moved to {moved_to}"
    return description


def measure(train: Callable[[int], float], tasks: Sequence[Task]) -> Results:
    """The value of every task, or why it is none.

    Raises:
        TrainingFailed: if `train` raises.
    """
    __tracebackhide__ = True
    results: dict[Task, float | str] = {}
    for task in tasks:
        try:
            number: Any = train(task[1])
        except Exception as failure:
            failure.add_note(f"raised by the training of seed {task[1]}")
            raise TrainingFailed from failure
        try:
            if isinstance(number, str | bytes):  # which float() would accept
                raise TypeError(f"{number!r} is not a number")
            results[task] = float(number)
        except (TypeError, ValueError) as failure:
            results[task] = f"seed {task[1]}: {type(failure).__name__}: {failure}"
    return results


@pytest.fixture
def accuracy_regression(request: pytest.FixtureRequest) -> AccuracyRegression:
    """Compares a training with the reference beside the test: `.check(train)`."""
    return AccuracyRegression(request)
