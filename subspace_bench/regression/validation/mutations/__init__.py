"""Faults of kinds that happen, planted into the real package from outside.

    python -m subspace_bench.regression.validation.run_mutated missing-zero-grad check

plants a fault and runs the command line in it: `check` should be red. Each fault is a function that
replaces something in the package, for good: a process has one fault or none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

# Names of `regression.suite.runs()`; what stands first is what is measured.
CONV, FC, LITE = "conv", "FC", "MNIST-lite CNN"
FASTFOOD, ORTHONORMAL, HASHED = (
    f"conv, d = 1,000, {name}" for name in ("fastfood", "orthonormal", "hashed")
)
DIRECT = (CONV, FC, LITE)
SUBSPACES = (FASTFOOD, ORTHONORMAL, HASHED)
ALL = (CONV, FC, FASTFOOD, LITE, ORTHONORMAL, HASHED)
CONVOLUTIONS = (CONV, FASTFOOD, LITE, ORTHONORMAL, HASHED)
PLAIN = (CONV, FASTFOOD, ORTHONORMAL, HASHED)  # the net without dropout
MEASURED = 2


@dataclass(frozen=True)
class Mutation:
    """A fault and how it is planted.

    Attributes:
        plant: replaces what is faulty in this process.
        says: what went wrong.
        runs: names of all reference runs that it touches; the bits of the others stay.
    """

    plant: Callable[[], None]
    says: str
    runs: tuple[str, ...]

    @property
    def measured(self) -> tuple[str, ...]:
        """The first of `runs`, on which the change and the verdict are measured, to bound the cost.

        The others are taken as unchanged: what shows in them alone counts neither as an effect nor
        as caught.
        """
        return self.runs[:MEASURED]


MUTATIONS: dict[str, Mutation] = {}


def fault(runs: tuple[str, ...] = ALL) -> Callable[[Callable[[], None]], None]:
    """Registers the function under its name; its docstring says what went wrong."""

    def register(plant: Callable[[], None]) -> None:
        name = plant.__name__.replace("_", "-")
        MUTATIONS[name] = Mutation(plant, (plant.__doc__ or "").strip(), runs)

    return register


for kind in ("data", "training", "models", "scoring", "subspaces"):
    import_module(f"subspace_bench.regression.validation.mutations.{kind}")
