"""Digests of source code: of the whole package, and of a module with those that it imports."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from pathlib import Path

from subspace_bench.common.files import digest

PACKAGE = Path(__file__).parents[1]


@functools.cache
def package_digest() -> str:
    """SHA-256 of the names and bytes of all modules and data files of the package."""
    files = sorted(path for suffix in ("py", "toml") for path in PACKAGE.rglob(f"*.{suffix}"))
    return digest(
        {
            path.relative_to(PACKAGE).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        }
    )


@functools.cache
def module_digest(name: str, rooms: tuple[str, ...]) -> str:
    """SHA-256 of the code of a module and of the modules that it imports, directly or not.

    Comments, docstrings and formatting do not count.

    Arguments:
        rooms: only modules whose dotted names start with one of these, and the first, are read.
    """
    found: dict[str, str] = {}
    pending = [name]
    while pending:
        module = pending.pop()
        path = source_of(module)
        if path is None or module in found:
            continue
        found[module] = code_of(path)
        pending += [each for each in imports_of(path) if each.startswith(rooms)]
    return digest(found)


def source_of(module: str) -> Path | None:
    """The file of a module; None if it is not a module, or is not written in Python."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


@functools.cache
def imports_of(path: Path) -> tuple[str, ...]:
    """The modules that a file imports by absolute name, and what may be modules in packages."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)


@functools.cache
def code_of(path: Path) -> str:
    """The code of a Python file without comments, docstrings and formatting."""
    tree = ast.parse(path.read_bytes())
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
