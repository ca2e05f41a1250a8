"""The pages of the suite by name. To add a page, add a module with a `STUDY` to this package.

Its text goes to `reporting/templates/<name>.md.j2`.
"""

from __future__ import annotations

import importlib
import pkgutil

from subspace_bench.experiments.study import Study


def discover(package: str) -> dict[str, Study]:
    """Name → study: the `STUDY` of every module of a package, in their order."""
    path = importlib.import_module(package).__path__
    modules = [importlib.import_module(f"{package}.{m.name}") for m in pkgutil.iter_modules(path)]
    studies: list[Study] = [module.STUDY for module in modules if hasattr(module, "STUDY")]
    return {s.name: s for s in sorted(studies, key=lambda study: (study.order, study.name))}


STUDIES: dict[str, Study] = discover(__package__)
