"""The distribution of the fixture alone: complete, and without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from subspace_bench.regression.reference import Reference, save

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "accuracy-regression" / "pyproject.toml").read_text())
FILES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
PACKAGED = {target for target in FILES.values() if target.endswith(".py")}
PLUGIN = "subspace_bench.regression.pytest_plugin"


def imported(path: Path) -> set[str]:
    """The modules that a file imports when it runs, those within functions included."""
    tree, names = ast.parse(path.read_text()), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


def file_of(module: str) -> str | None:
    base = ROOT / Path(*module.split("."))
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.exists():
            return path.relative_to(ROOT).as_posix()
    return None


def test_files_are_the_packages_own() -> None:
    assert all((ROOT / "accuracy-regression" / source).exists() for source in FILES)
    moved = {target for source, target in FILES.items() if source != f"../{target}"}
    assert moved == {"subspace_bench/LICENSE"}


def test_it_has_exactly_what_the_plug_in_imports() -> None:
    """Its packages as well; the public names of subspace_bench are imported when they are used."""
    needed, waiting = set(), ["subspace_bench/regression/pytest_plugin.py"]
    while waiting:
        file = waiting.pop()
        if file in needed:
            continue
        needed.add(file)
        waiting += [f"{parent}/__init__.py" for parent in Path(file).parents if parent.name]
        waiting += [found for name in imported(ROOT / file) if (found := file_of(name))]
    assert needed == PACKAGED


def test_it_needs_the_dependencies_that_it_declares_and_no_more() -> None:
    others = {name.partition(".")[0] for file in PACKAGED for name in imported(ROOT / file)}
    others -= {"subspace_bench", *sys.stdlib_module_names}
    declared = {name.partition(">")[0] for name in PROJECT["project"]["dependencies"]}
    assert others == {name.replace("-", "_") for name in declared}


def test_both_distributions_register_one_plug_in() -> None:
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for entry in ("requires-python", "entry-points"):
        assert PROJECT["project"][entry] == whole["project"][entry]


@pytest.mark.slow
def test_the_fixture_works_where_torch_cannot_be_imported(tmp_path: Path) -> None:
    for source, target in FILES.items():
        copy = tmp_path / "site" / target
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / "accuracy-regression" / source).read_bytes())
    for name in ("torch", "torchvision", "numba", "pandas", "matplotlib"):
        (tmp_path / "site" / f"{name}.py").write_text("raise ImportError('not here')\n")
    (tmp_path / "test_it.py").write_text(
        "def test_it(accuracy_regression):\n"
        "    accuracy_regression.check(lambda seed: 90 + seed * 0.618 % 1)\n"
    )
    values = tuple(90 + seed * 0.618 % 1 for seed in range(20))
    save(tmp_path / "test_it" / "test_it.toml", {"test_it": Reference(values)})
    command = [sys.executable, "-m", "pytest", "-q", "-p", PLUGIN]
    variables = {"PYTHONPATH": str(tmp_path / "site"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    subprocess.run(command, cwd=tmp_path, env=variables, check=True)
