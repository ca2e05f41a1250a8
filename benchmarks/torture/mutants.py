"""Mutation testing: faults planted into the sources one at a time, each of which tests must find.

A mutant is a source file with one node of its syntax tree changed. It is written into a clone,
where the tests of its room run, in a fork of this process, which has imported torch.
"""

from __future__ import annotations

import ast
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeGuard

from benchmarks.torture.campaigns import Row, Setting
from subspace_bench.common.hardware import core_count

HERE = Path(__file__).parents[2]
TESTS = {  # room → the test files that must find its mutants
    "records": ("tests/records", "tests/training/test_checkpoint.py"),
    "regression": ("tests/regression",),
    "projectors": ("tests/projectors",),
    "subspace": ("tests/subspace",),
}
WITH_SLOW_TESTS = ("subspace",)  # they alone try sharded modules, on four processes
LEFT_OUT = ("validation", "__init__.py")  # what measures the check itself has tests of its own
ABOUT = "mutants of `projectors`, `records`, `regression` and `subspace` that tests must find"
SECONDS = 1200.0  # of the tests without a mutant
WANTED = 0.85  # the share of mutants that must be found

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.And: ast.Or, ast.Or: ast.And, ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div,
    ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Attributes:
        path: of the file, in its tree.
        source: the whole file, changed.
    """

    path: Path
    line: int
    change: str
    source: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.change}"


def rows(setting: Setting) -> Iterator[Row]:
    draw, row, by_room, survivors = random.Random(setting.seed), Row(ABOUT), [], []
    trees = [setting.work / f"tree-{number}" for number in range(core_count())]
    for tree in trees:  # of the last commit
        subprocess.run(["git", "clone", "-q", str(HERE), str(tree)], check=True)
    for room in TESTS:
        every = [mutant for path in sources(room, trees[0]) for mutant in mutants(path, trees[0])]
        unchanged = replace(every[0], source=(trees[0] / every[0].path).read_text(encoding="utf-8"))
        begin = time.monotonic()
        if any(is_found for _, is_found in try_all([unchanged], room, SECONDS, trees)):
            row.report(f"tests of `{room}` fail without a mutant")
            continue
        chosen = draw.sample(every, min(len(every), int(os.environ.get("MUTANTS", "12"))))
        found, limit = 0, 60 + 3 * (time.monotonic() - begin)  # a mutant that hangs is found
        for mutant, is_found in try_all(chosen, room, limit, trees):
            print(f"{'found' if is_found else 'SURVIVES'}: {mutant}", flush=True)
            row.count()
            found += is_found
            survivors += [] if is_found else [str(mutant)]
        by_room.append(f"{room} {found} of {len(chosen)} tried, {len(every):,} possible")
    share = 1 - len(survivors) / max(1, row.times)
    row.report(*(survivors if share < WANTED else ()))
    row.measured = f"{share:.0%} found ({'; '.join(by_room)})"
    if survivors:
        row.measured += f"; not found: {', '.join(sorted(survivors))}"
    yield row


def sources(room: str, tree: Path) -> list[Path]:
    """The files of a room that have mutants."""
    files = sorted((tree / "subspace_bench" / room).rglob("*.py"))
    return [path for path in files if not any(part in LEFT_OUT for part in path.parts)]


def mutants(path: Path, tree: Path) -> Iterator[Mutant]:
    """All mutants of a file in a tree."""
    source = path.read_text(encoding="utf-8")
    parsed = ast.parse(source)
    left_out = {
        part
        for node in ast.walk(parsed)
        for root in [*getattr(node, "decorator_list", []), *([node] if is_prediction(node) else [])]
        for part in ast.walk(root)
    }
    for index, node in enumerate(ast.walk(parsed)):
        for name, change in changes(node) if node not in left_out else ():
            mutated = deepcopy(parsed)
            target = next(n for i, n in enumerate(ast.walk(mutated)) if i == index)
            change(target)
            text = ast.unparse(mutated)
            yield Mutant(path.relative_to(tree), getattr(node, "lineno", 0), name, text)


def changes(node: ast.AST) -> Iterator[tuple[str, Callable[[ast.AST], None]]]:
    """What may be changed in a node: a name and a function that changes it."""

    def put(name: str, value: object) -> Callable[[ast.AST], None]:
        return lambda target: setattr(target, name, value)

    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        other = SWAPS[type(node.ops[0])]
        names = f"{type(node.ops[0]).__name__} → {other.__name__}"
        yield names, put("ops", [other(), *node.ops[1:]])
    elif isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in SWAPS:
        if isinstance(node, ast.BinOp) and is_text(node):
            return
        other = SWAPS[type(node.op)]
        yield f"{type(node.op).__name__} → {other.__name__}", put("op", other())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "not dropped", lambda t: setattr(t, "op", ast.UAdd())
    elif isinstance(node, ast.Constant) and is_number(node.value):
        yield f"{node.value} → {node.value + 1}", put("value", node.value + 1)
    elif isinstance(node, ast.Constant) and type(node.value) is bool:
        yield f"{node.value} → {not node.value}", put("value", not node.value)
    elif isinstance(node, ast.If | ast.While) and not is_type_checking(node.test):
        yield (
            "condition negated",
            lambda t: setattr(
                t,
                "test",
                ast.UnaryOp(ast.Not(), t.test),  # type: ignore[attr-defined]
            ),
        )
    elif isinstance(node, ast.Raise):
        yield "raise dropped", become_pass
    elif isinstance(node, ast.Return) and not isinstance(node.value, ast.Constant | None):
        yield "returns None", put("value", ast.Constant(None))


def become_pass(node: ast.AST) -> None:
    """Replaces a `raise` by an expression without effect."""
    node.__class__ = ast.Expr
    node.__dict__ = {"value": ast.Constant(None), "lineno": 1, "col_offset": 0}


def is_prediction(node: ast.AST) -> bool:
    """Whether it predicts memory or time, which the campaign `predictions` measures.

    Decorators are left out as well: a dataclass that is not frozen, or a cache that keeps nothing,
    gives the same results.
    """
    return isinstance(node, ast.FunctionDef) and node.name in ("footprint", "predicted_seconds")


def is_number(value: object) -> TypeGuard[int | float]:
    return type(value) in (int, float)


def is_text(node: ast.BinOp) -> bool:
    return any(isinstance(side, ast.JoinedStr | ast.Constant) and isinstance(
        getattr(side, "value", ""), str) for side in (node.left, node.right))  # fmt: skip


def is_type_checking(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def try_all(
    chosen: Sequence[Mutant], room: str, limit: float, trees: Sequence[Path]
) -> Iterator[tuple[Mutant, bool]]:
    """Each mutant, and whether the room's tests fail, crash or hang on it.

    Arguments:
        limit: seconds after which tests hang.
        trees: clones, one for each mutant that is tried at a time.
    """
    waiting, free = list(chosen), list(trees)
    running = dict[int, tuple[Mutant, float, Path]]()
    while waiting or running:
        if waiting and free:
            mutant, tree = waiting.pop(0), free.pop()
            (tree / mutant.path).write_text(mutant.source, encoding="utf-8")
            running[start(mutant, room, tree)] = mutant, time.monotonic() + limit, tree
            continue
        for pid, (mutant, end, tree) in list(running.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if not done and time.monotonic() > end:
                os.killpg(pid, signal.SIGKILL)
                done, status = os.waitpid(pid, 0)
            if done:
                del running[pid]
                subprocess.run(["git", "restore", "."], cwd=tree, check=True)
                free.append(tree)
                yield mutant, os.waitstatus_to_exitcode(status) != 0
        time.sleep(0.05)


def start(mutant: Mutant, room: str, tree: Path) -> int:
    """Runs the room's tests in a fork of this process; returns its process id."""
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        with open(os.devnull, "w") as null:
            os.dup2(null.fileno(), 1)
            os.dup2(null.fileno(), 2)
        os._exit(run_tests(mutant, room, tree))
    return pid


def run_tests(mutant: Mutant, room: str, tree: Path) -> int:
    """In the fork: the exit code of pytest in the tree, whose sources are the mutant's."""
    import pytest

    for name in [n for n in sys.modules if n.partition(".")[0] in ("subspace_bench", "benchmarks")]:
        del sys.modules[name]
    sys.path[:] = [str(tree), *(path for path in sys.path if path not in ("", str(HERE)))]
    os.environ["PYTHONPATH"] = str(tree)
    # A .pyc counts as current if its source has the same size and second of writing.
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    os.chdir(tree)
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "default"]
    options += [] if room in WITH_SLOW_TESTS else ["-m", "not slow"]
    roots = [tree / test for test in TESTS[room]]
    files = [path for root in roots for path in [root, *sorted(root.rglob("*.py"))]]
    files = [path for path in files if path.name.startswith("test_")]
    files.sort(key=lambda path: mutant.path.stem not in path.stem)  # the likeliest come first
    return int(pytest.main([*options, *map(str, files)]))
