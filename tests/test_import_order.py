"""The rooms of the package import in one direction, and no two modules import each other."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "subspace_bench"
# A room may import only from the rooms before it.
ROOMS = (
    "common",
    "kernels",
    "projectors",
    "models",
    "subspace",
    "datasets",
    "records",
    "training",
    "reporting",
    "profiling",
    "regression",
    "dimension",
    "experiments",
    "cli",
)
ENTRY_POINTS = ("", "__main__")  # the public API and `python -m subspace_bench`


def modules() -> dict[str, Path]:
    """Dotted name below the package ("" for itself) → file."""
    names = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


MODULES = modules()


def imports(name: str) -> Iterator[tuple[int, str]]:
    """(line, imported module) for each import of this package, those within functions included."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        targets = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".") if package else []
            base = ".".join(["subspace_bench", *parents[: len(parents) - node.level + 1]])
            base = ".".join(filter(None, [base, node.module])) if node.level else node.module or ""
            targets = [
                f"{base}.{alias.name}" if is_module(f"{base}.{alias.name}") else base
                for alias in node.names
            ]
        for target in targets:
            if target.partition(".")[0] == "subspace_bench":
                yield node.lineno, target.partition(".")[2]


def is_module(dotted: str) -> bool:
    first, _, name = dotted.partition(".")
    return first == "subspace_bench" and name in MODULES


def test_every_room_has_a_place_in_the_order() -> None:
    rooms = {name.partition(".")[0] for name in MODULES} - set(ENTRY_POINTS)
    assert rooms == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_from_rooms_before_them(room: str) -> None:
    wrong = {}
    for name in MODULES:
        if name.partition(".")[0] != room:
            continue
        for line, target in imports(name):
            other = target.partition(".")[0]
            if other in ROOMS and ROOMS.index(other) > ROOMS.index(room):
                path = MODULES[name].relative_to(ROOT.parent)
                wrong[f"{path}:{line} imports subspace_bench.{target}"] = None
    assert not wrong, "\n".join(["imports from a later room:", *wrong])


def test_no_circle_between_modules() -> None:
    graph = {
        name: {target for _, target in imports(name)} - {name, ""}
        for name in MODULES
        if name not in ENTRY_POINTS
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail("import circle: " + " ← ".join(error.args[1]))
