"""The stages of `python -m benchmarks.gpu`, the most valuable first.

A stage is a list of items, each one measurement or check, also in order of value. What a stage
imports may be missing on a bare machine, so a stage's module is imported in its own process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

Values = dict[str, Any]  # of one item; "status", if given, is other than "ok"
LIMIT_SECONDS = 60.0


@dataclass(frozen=True)
class Setting:
    """How a stage is to run.

    Attributes:
        device: "cuda" or "cpu".
        dry: whether sizes are tiny, to try every line of code; the numbers mean nothing.
        work: folder of results.
    """

    device: str
    dry: bool
    work: Path


@dataclass(frozen=True)
class Item:
    """One measurement or check.

    Attributes:
        run: returns its values. An ImportError means "left out", too little memory "does not fit",
            any other exception "failed".
        limit: seconds after which its process is killed.
    """

    name: str
    run: Callable[[], Values]
    limit: float = LIMIT_SECONDS


@dataclass(frozen=True)
class Stage:
    """A stage.

    Attributes:
        share: its part of the time, relative to the others'. What it leaves goes to the later ones.
        about: what it measures, in a few words.
        usual: whether it runs without being named.
    """

    name: str
    share: float
    about: str
    usual: bool = True

    def items(self, setting: Setting) -> list[Item]:
        """Its items, from the function `items` of its module."""
        module = import_module(f"benchmarks.gpu.{self.name}")
        return cast("list[Item]", module.items(setting))


STAGES = {
    stage.name: stage
    for stage in (
        Stage("ceilings", 6, "bandwidth, matrix products and launches of the device"),
        Stage("kernels", 12, "every Triton kernel: compiled, checked, timed"),
        Stage("correctness", 14, "every projector against the CPU in float64"),
        Stage("projectors", 30, "the page of projectors"),
        Stage("steps", 10, "training steps, alone and batched"),
        Stage("tables", 24, "the post's tables, five seeds of a cell as one batch"),
        Stage("peers", 8, "other implementations"),
        Stage("planned", 30, "planned trainings that are missing, as batches", usual=False),
    )
}
