"""Mutations: bugs of kinds that happen, planted into the package from outside.

    python -m subspace_bench.regression.validation.run_mutated missing-zero-grad check

runs a command with a mutation, and `check` should fail. A mutation is a function that patches the
package for the rest of the process, so a process has at most one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

# Names of `regression.suite.runs()`, those first that are measured.
CONV, FC, LITE = "conv", "FC", "MNIST-lite CNN"
FASTFOOD, ORTHONORMAL, HASHED = (
    f"conv, d = 1,000, {name}" for name in ("fastfood", "orthonormal", "hashed")
)
DIRECT = (CONV, FC, LITE)
SUBSPACES = (FASTFOOD, ORTHONORMAL, HASHED)
ALL = (CONV, FC, FASTFOOD, LITE, ORTHONORMAL, HASHED)
CONVOLUTIONS = (CONV, FASTFOOD, LITE, ORTHONORMAL, HASHED)
NO_DROPOUT = (CONV, FASTFOOD, ORTHONORMAL, HASHED)
MEASURED = 2


@dataclass(frozen=True)
class Mutation:
    """A planted bug.

    Attributes:
        apply: patches the package in this process.
        description: what is wrong, in one sentence.
        runs: names of all reference runs that it affects; the others stay bitwise equal.
    """

    apply: Callable[[], None]
    description: str
    runs: tuple[str, ...]

    @property
    def measured(self) -> tuple[str, ...]:
        """The first of `runs`: those on which effect and verdict are measured, to bound the cost.

        The others count as unchanged: neither their effects nor their verdicts are considered.
        """
        return self.runs[:MEASURED]


MUTATIONS: dict[str, Mutation] = {}


def mutation(runs: tuple[str, ...] = ALL) -> Callable[[Callable[[], None]], None]:
    """Registers a function under its name; its docstring is the description."""

    def register(apply: Callable[[], None]) -> None:
        name = apply.__name__.replace("_", "-")
        MUTATIONS[name] = Mutation(apply, (apply.__doc__ or "").strip(), runs)

    return register


# The order of MUTATIONS is that of the modules.
for kind in ("data", "training", "models", "scoring", "subspaces"):
    import_module(f"subspace_bench.regression.validation.mutations.{kind}")
