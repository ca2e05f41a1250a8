"""A pytest plug-in: the fixture `accuracy_regression`, for any function from a seed to a number.

    def test_accuracy(accuracy_regression):
        accuracy_regression.check(train)  # train(seed) -> accuracy in %

`pytest --accuracy-rebase` trains the reference and writes it beside the test, for git to keep;
without it, new numbers are held against that: two seeds first, more only where in doubt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from subspace_bench.regression.checking import Measured, Task

REMEDY = "make one with `pytest --accuracy-rebase`, and commit it"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("accuracy regression").addoption(
        "--accuracy-rebase",
        action="store_true",
        help="train new references of accuracy_regression; the old ones are kept as history",
    )


class AccuracyRegression:
    """Holds a training against its reference in `path`."""

    def __init__(self, path: Path, rebase: bool, report: Callable[[str], None]) -> None:
        self.path, self.rebase, self.report = path, rebase, report

    def check(self, train: Callable[[int], float], seeds: int = 20, alpha: float = 0.01) -> None:
        """Fails the test where the training's numbers have moved, up or down.

        Arguments:
            train: a function from a seed to one finite number, such as an accuracy in %.
            seeds: of the reference, when it is made: 10 or more; more find smaller moves.
            alpha: probability of an alarm where nothing has moved.
        """
        __tracebackhide__ = True
        from subspace_bench.errors import UserError
        from subspace_bench.regression import checking
        from subspace_bench.regression.reference import FEWEST, load
        from subspace_bench.regression.sequential import WITHIN

        if seeds < FEWEST:
            pytest.fail(f"a reference needs {FEWEST} seeds or more, not {seeds}", pytrace=False)
        name = self.path.stem
        try:
            if self.rebase:
                self._rebase(name, train, seeds)
                return
            references = load(self.path, REMEDY)
        except UserError as failure:
            pytest.fail(str(failure), pytrace=False)
        [outcome] = checking.check(references, lambda tasks: measure(train, tasks), alpha)
        said = checking.frame([outcome]).to_string(index=False)
        if outcome.verdict != WITHIN:
            pytest.fail(f"{outcome.sentence}\n{said}", pytrace=False)
        self.report(said)

    def _rebase(self, name: str, train: Callable[[int], float], seeds: int) -> None:
        from subspace_bench.errors import UserError
        from subspace_bench.regression.checking import failure
        from subspace_bench.regression.reference import Reference, load, save, side_by_side

        found = list(measure(train, [(name, seed) for seed in range(seeds)]).values())
        if reason := failure(found):
            raise UserError(f"no reference is made: {reason}")
        new = Reference(tuple(float(v) for v in found))
        old = load(self.path, REMEDY).get(name) if self.path.exists() else None
        save(self.path, {name: new}, REMEDY)
        self.report(f"{self.path}: {side_by_side(old, new)}")


def measure(train: Callable[[int], float], tasks: Sequence[Task]) -> Measured:
    """One number for each task, or why there is none."""
    found: dict[Task, float | str] = {}
    for task in tasks:
        try:
            found[task] = float(train(task[1]))
        except Exception as failure:
            found[task] = f"seed {task[1]} raised {type(failure).__name__}: {failure}"
    return found


@pytest.fixture
def accuracy_regression(request: pytest.FixtureRequest) -> Iterator[AccuracyRegression]:
    """Holds a training's numbers against the reference beside the test: `.check(train)`."""
    test = re.sub(r"[^\w.-]+", "-", request.node.name).strip("-")
    path = request.path.parent / request.path.stem / f"{test}.toml"
    rebase = bool(request.config.getoption("--accuracy-rebase"))
    lines: list[str] = []
    yield AccuracyRegression(path, rebase, lines.append)
    if lines:
        print("\n".join(lines))  # pytest shows it with -rP, or where the test fails
