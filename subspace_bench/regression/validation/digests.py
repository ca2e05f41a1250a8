"""A digest of a mutation's code that renaming, moving or reformatting does not change.

Stored trials are valid only while the digest of their mutation stays the same, and training them
again takes hours. So the digest omits comments, docstrings and annotations and numbers the
variables, functions and modules of this package. It keeps attributes, constants, builtins and the
names of other packages.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

from subspace_bench.common.files import digest

PACKAGE = __package__  # of the functions that belong to a mutation: patching, mutations
ROOT = PACKAGE.partition(".")[0]


def digest_of(function: Callable[..., Any]) -> str:
    """SHA-256 of a function and of all functions of this package that it uses."""
    return digest(canonical(function))


def canonical(function: Callable[..., Any]) -> list[str]:
    """The normalised code of a function and of its helpers, each once, in order of first use."""
    functions, texts = [function], []
    for current in functions:  # grows while helpers are found
        definition = ast.parse(textwrap.dedent(inspect.getsource(current))).body[0]
        assert isinstance(definition, ast.FunctionDef)
        definition.decorator_list = []  # the decorator only registers the mutation
        texts.append(ast.unparse(_Normaliser(current, definition, functions).visit(definition)))
    return texts


class _Normaliser(ast.NodeTransformer):
    """Numbers variables, helpers and modules by first use; inlines the constants of a module."""

    def __init__(
        self, function: Any, definition: ast.FunctionDef, functions: list[Callable[..., Any]]
    ) -> None:
        self.globals, self.functions = function.__globals__, functions
        self.modules: list[str] = []
        self.variables: dict[str, str] = {}
        for node in ast.walk(definition):
            if isinstance(node, ast.arg):
                self.variables[node.arg] = ""
            elif isinstance(node, ast.FunctionDef):
                self.variables[node.name] = ""
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self.variables[node.id] = ""

    def number(self, name: str) -> str:
        if not self.variables[name]:
            self.variables[name] = f"v{sum(map(bool, self.variables.values()))}"
        return self.variables[name]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        node.name, node.returns = self.number(node.name), None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(self.number(node.arg))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        assert node.value is not None
        return self.generic_visit(ast.Assign([node.target], node.value, lineno=node.lineno))

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self.variables:
            return ast.Name(self.number(node.id), node.ctx)
        value = self.globals.get(node.id)
        if isinstance(value, FunctionType) and value.__module__.startswith(PACKAGE):
            if value not in self.functions:
                self.functions.append(value)
            return ast.Name(f"helper{self.functions.index(value)}", node.ctx)
        if isinstance(value, ModuleType) and value.__name__.startswith(ROOT):
            if value.__name__ not in self.modules:
                self.modules.append(value.__name__)
            return ast.Name(f"module{self.modules.index(value.__name__)}", node.ctx)
        if isinstance(value, int | float | str):
            return ast.Constant(value)
        return node
