"""Faults of kinds that happen, planted into the real package from outside.

    python -m benchmarks.faults missing-zero-grad check --report moved.md

plants a fault and runs the command line in it: `check` should be red. Each fault is a function that
replaces something in the package; which reference runs it can touch stands with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

ALL = ("conv", "MNIST-lite CNN", "FC", "orthonormal", "fastfood", "hashed")
SUBSPACES = ("orthonormal", "fastfood", "hashed")


@dataclass(frozen=True)
class Fault:
    """A fault, how it is planted, and the reference runs whose names hold one of `runs`."""

    plant: Callable[[], None]
    says: str
    runs: tuple[str, ...]


FAULTS: dict[str, Fault] = {}


def fault(runs: tuple[str, ...] = ("conv", "FC")) -> Callable[[Callable[[], None]], None]:
    """Registers the function under its name; its docstring says what went wrong."""

    def register(plant: Callable[[], None]) -> None:
        name = plant.__name__.replace("_", "-")
        FAULTS[name] = Fault(plant, (plant.__doc__ or "").strip(), runs)

    return register


for kind in ("data", "training", "nets", "subspaces"):
    import_module(f"benchmarks.faults.{kind}")
