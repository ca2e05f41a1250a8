"""A pytest plug-in: the fixture `accuracy_regression`, for any function from a seed to a number.

    def test_accuracy(accuracy_regression):
        accuracy_regression.check(train)  # train(seed) -> accuracy in %

`pytest --accuracy-update` trains the reference and writes it beside the test, for git to keep;
without it, new numbers are held against that: two seeds first, more only where in doubt.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from subspace_bench.regression.check import Measured, Task

REMEDY = "make one with `pytest --accuracy-update`, and commit it"
PROPERTY = "accuracy_regression"  # of a test's report: what the terminal says at the end
LONGEST = 100  # letters of a test's name in that of its file


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("accuracy regression").addoption(
        "--accuracy-update",
        action="store_true",
        help="train new references of accuracy_regression; the old ones are kept as history",
    )
    parser.getgroup("accuracy regression").addoption(
        "--accuracy-first-seed",
        type=int,
        metavar="N",
        help="first seed of the new numbers, 1000000 or more: another says whether an alarm was "
        "chance",
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = terminalreporter.stats.get("passed", [])  # pytest-xdist brings them from its workers
    lines = [text for r in reports for key, text in r.user_properties if key == PROPERTY]
    if lines:
        terminalreporter.section("accuracy regression")
        terminalreporter.write_line("\n".join(lines))


class AccuracyRegression:
    """Holds trainings against their references, files in the folder that the test's file names."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self.node, self.config = request.node, request.config
        owner = f"{request.cls.__qualname__}." if request.cls else ""
        self.test = f"{owner}{request.node.name}"
        self.folder = request.path.parent / request.path.stem
        self.used: set[Path] = set()

    def check(
        self, train: Callable[[int], float], seeds: int = 20, alpha: float = 0.01, name: str = ""
    ) -> None:
        """Fails the test where the training's numbers have moved, up or down.

        Arguments:
            train: a function from a seed to one finite number, such as an accuracy in %. It is
                called with 0, 1, … for a reference and with 1,000,000, 1,000,001, … for a check.
            seeds: of the reference: 10 or more; more find smaller moves.
            alpha: probability that this call raises an alarm where nothing has moved. A project of
                k calls raises k times as many: give each the k-th part of what all may raise.
            name: of what is trained, where one test checks several trainings.
        """
        __tracebackhide__ = True
        from subspace_bench.common.errors import UserError

        wrong = ""
        try:
            possible(seeds, alpha)
            path = self._path(name)
            if self.config.getoption("--accuracy-update"):
                self.node.user_properties.append((PROPERTY, rebase(path, train, seeds)))
            else:
                first = self.config.getoption("--accuracy-first-seed")
                print(judge(path, train, seeds, alpha, first))  # pytest shows it with -rP
        except UserError as failure:
            wrong = str(failure)
        if wrong:  # failed here, where there is no other exception that pytest would show, too
            pytest.fail(wrong, pytrace=False)

    def _path(self, name: str) -> Path:
        """The reference's file: a name that no other has, with a mark where letters had to go."""
        from subspace_bench.common.errors import UserError

        whole = f"{self.test}.{name}" if name else self.test
        plain = re.sub(r"[^\w.-]+", "-", whole)[:LONGEST].strip("-")
        mark = "" if plain == whole else f"-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"
        path = self.folder / f"{plain}{mark}.toml"
        if path in self.used:
            raise UserError(f"{path} is the reference of {whole} already: give check a name")
        self.used.add(path)
        return path


def possible(seeds: int, alpha: float) -> None:
    """A UserError for arguments that no check can have."""
    from subspace_bench.common.errors import UserError

    if not isinstance(seeds, int):
        raise UserError(f"seeds is {seeds!r}: it must be a whole number")
    if not 0 < alpha < 1:
        raise UserError(f"alpha is {alpha}, no probability: it must lie between 0 and 1")


def judge(
    path: Path, train: Callable[[int], float], seeds: int, alpha: float, first: int | None
) -> str:
    """A table of what was found.

    Raises:
        UserError: where the numbers have moved, or cannot be judged, or the reference is of fewer
            seeds; for a first seed that a reference may have.
    """
    from subspace_bench.common.errors import UserError
    from subspace_bench.regression import FIRST_SEED
    from subspace_bench.regression import check as checking
    from subspace_bench.regression.reference import load
    from subspace_bench.regression.sequential import MOVED, WITHIN

    first = FIRST_SEED if first is None else first
    if first < FIRST_SEED:
        raise UserError(f"--accuracy-first-seed is {first}: it must be {FIRST_SEED} or more")
    reference = load(path, REMEDY).get(path.stem)
    if reference is None:
        raise UserError(f"{path} holds no reference of {path.stem}: {REMEDY}")
    if len(reference.values) < seeds:
        raise UserError(f"{path} holds {len(reference.values)} seeds, fewer than {seeds}: {REMEDY}")
    found = checking.check(
        {path.stem: reference}, lambda tasks: measure(train, tasks), alpha, first
    )
    said = checking.frame(found).to_string(index=False)
    if found[0].verdict == WITHIN:
        return said
    again = f"Whether it was chance, others say: --accuracy-first-seed {first + FIRST_SEED}"
    parts = [found[0].sentence, said, checking.method(found, alpha)]
    raise UserError("\n".join(parts + [again] * (found[0].verdict == MOVED)))


def rebase(path: Path, train: Callable[[int], float], seeds: int) -> str:
    """Trains and writes a reference; old and new side by side.

    Raises:
        UserError: for too few seeds, a training that came to nothing, a place that takes no files.
    """
    from subspace_bench.common.errors import UserError
    from subspace_bench.regression.check import failure
    from subspace_bench.regression.reference import FEWEST, Reference, replaced, save, side_by_side

    if seeds < FEWEST:
        raise UserError(f"a reference needs {FEWEST} seeds or more, not {seeds}")
    name = path.stem
    found = list(measure(train, [(name, seed) for seed in range(seeds)]).values())
    if reason := failure(found):
        raise UserError(f"no reference is made: {reason}")
    new = Reference(tuple(float(v) for v in found))
    old = replaced(path)
    aside = save(path, {name: new})
    said = f"{path}: {side_by_side(old.get(name), new)}"
    return f"{aside}\n{said}" if aside else said


def measure(train: Callable[[int], float], tasks: Sequence[Task]) -> Measured:
    """One number for each task, or why there is none."""
    from subspace_bench.training.executor import describe

    found: dict[Task, float | str] = {}
    for task in tasks:
        try:
            number: Any = train(task[1])
            if isinstance(number, str | bytes):  # which float() would take
                raise TypeError(f"{number!r} is no number")
            found[task] = float(number)
        except Exception as failure:
            found[task] = f"seed {task[1]} raised {describe(failure)}"
    return found


@pytest.fixture
def accuracy_regression(request: pytest.FixtureRequest) -> AccuracyRegression:
    """Holds a training's numbers against the reference beside the test: `.check(train)`."""
    return AccuracyRegression(request)
