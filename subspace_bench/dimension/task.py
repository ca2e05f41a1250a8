"""A task: the user's own model and training loop, from Python or from a file.

def build(seed):          # a new torch.nn.Module
    ...
def train(net, seed):     # trains net.parameters(); returns a score; may also take rate=…
    ...
higher_is_better = True   # the default; False for a loss
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from torch import nn

import subspace_bench
from subspace_bench.common.errors import UserError
from subspace_bench.common.files import digest
from subspace_bench.common.schema import Pattern, require

EXAMPLE = "define build(seed) -> torch.nn.Module and train(net, seed) -> float"
TaskName = Annotated[str, Pattern(r"\w[\w .=+()-]{0,79}")]  # of a row, a figure and a file
DIRECTION = re.compile(r"^higher_is_better\b.*$", re.MULTILINE)


@dataclass(frozen=True)
class Task:
    """A model and how it is trained.

    Attributes:
        name: of its row in tables.
        build: seed → a new module.
        train: (net, seed) → score. It trains `net.parameters()` in place. It may take a learning
            rate too: (net, seed, rate=…).
        higher_is_better: False for a loss.
        reference: what `load` made it from, so that a worker process can load it again.

    Raises:
        UserError: if the name has other characters than words, or `higher_is_better` is no bool.
    """

    name: str
    build: Callable[[int], nn.Module]
    train: Callable[..., float]
    higher_is_better: bool = True
    reference: str = ""

    def __post_init__(self) -> None:
        try:
            require(self.name, TaskName, "the name of the task")
            require(self.higher_is_better, bool, "higher_is_better")
        except ValueError as failure:
            raise UserError(str(failure)) from failure

    def __reduce__(self) -> tuple[Any, ...]:
        if self.reference:
            return load, (self.reference,)
        return Task, (self.name, self.build, self.train, self.higher_is_better)

    def require_rate(self) -> None:
        """Checks that `train` takes a rate, and has one of its own for the baseline.

        Raises:
            UserError: if not.
        """
        rate = inspect.signature(self.train).parameters.get("rate")
        if rate is None or rate.default is inspect.Parameter.empty:
            raise UserError(
                f"--rates needs train(net, seed, rate=…) in {self.name}: the module itself is "
                "trained at this default, subspaces at each of --rates"
            )

    def code_digest(self) -> str:
        """SHA-256 of the source files of `build` and `train`; "" where there is none.

        Modules that they import from the same folder are included. The line that sets
        `higher_is_better` is left out, because it changes no score.
        """
        try:
            return digest([_source(self.build), _source(self.train), *self._imported()])
        except (OSError, TypeError, SyntaxError):
            return ""  # typed at a prompt

    def _imported(self) -> list[str]:
        """Sources of the modules of their own folder that `build` and `train` import."""
        paths = set[Path]()
        for function in (self.build, self.train):
            file = inspect.getsourcefile(function)
            if file is not None and Path(file).is_file():  # not in a notebook
                paths.update(_neighbours(function.__module__, file))
        return [path.read_text(encoding="utf-8") for path in sorted(paths)]


@functools.cache
def load(reference: str) -> Task:
    """The task of `file.py`, or of `package.module:name` (an object with the same attributes).

    Raises:
        UserError: if it cannot be imported, or lacks `build` or `train`.
    """
    path = Path(reference)
    try:
        if path.suffix == ".py":
            source: Any = _import_file(path)
            name = path.stem
        else:
            module_name, _, attribute = reference.partition(":")
            sys.path.insert(0, "")  # as `python -m` does
            source = importlib.import_module(module_name)
            source = getattr(source, attribute) if attribute else source
            name = attribute or module_name.rpartition(".")[2]
    except UserError:
        raise
    except (Exception, SystemExit) as failure:
        raise UserError(
            f"cannot import {reference}: {type(failure).__name__}: {failure}; {EXAMPLE}"
        ) from failure
    for function in ("build", "train"):
        if not callable(getattr(source, function, None)):
            raise UserError(f"{reference} has no function {function!r}: {EXAMPLE}")
    higher_is_better = getattr(source, "higher_is_better", True)
    return Task(name, source.build, source.train, higher_is_better, reference)


def _import_file(path: Path) -> Any:
    if not path.is_file():
        raise UserError(f"{path} is not a file: give a Python file, or package.module:name")
    if path.stem in sys.modules or path.stem in sys.stdlib_module_names:
        raise UserError(f"{path} has the name of another module, {path.stem}: rename it")
    sys.path.insert(0, str(path.parent.resolve()))  # its neighbours can be imported
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def _source(function: Any) -> str:
    file = inspect.getsourcefile(function)
    text = Path(file).read_text(encoding="utf-8") if file else inspect.getsource(function)
    return DIRECTION.sub("", text)


@functools.cache
def _neighbours(module_name: str, file: str) -> tuple[Path, ...]:
    """The modules of its own folder that a module imports, directly or not, also in functions."""
    own = Path(file).resolve()
    if "site-packages" in own.parts:
        return ()
    depth = 0 if module_name == "__main__" else module_name.count(".")
    root = own.parents[depth + (own.name == "__init__.py")]
    found, new = {own}, [own]
    while new:
        path = new.pop()
        for name in _imports(path, root):
            places = [
                root.joinpath(*name.split(".")[:end]) for end in range(1, name.count(".") + 2)
            ]
            files = {file for p in places for file in (p.with_suffix(".py"), p / "__init__.py")}
            files = {file for file in files if file.is_file()} - found
            found |= files
            new += files
    return tuple(sorted(found - {own}))


def _imports(path: Path, root: Path) -> set[str]:
    """Full names that a file imports: modules, and what may be modules of a package."""
    names = set[str]()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = path.relative_to(root).parts[: -node.level] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return {name for name in names if name.split(".")[0] != subspace_bench.__name__}
