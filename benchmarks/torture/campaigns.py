"""The campaigns of `python -m benchmarks.torture`, and what each hands back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import cast

NOT_TRIED = "not tried: this machine does not allow it"


@dataclass
class Row:
    """A row of the page: one thing that was tried, many times.

    Attributes:
        tried: what, in one phrase.
        times: how often.
        wrong: what was lost or wrong, a line each.
        measured: figures that came out, in one phrase.
    """

    tried: str
    times: int = 0
    wrong: list[str] = field(default_factory=list)
    measured: str = ""

    def count(self, *wrong: str) -> None:
        """Counts one more trial, and what went wrong in it."""
        self.times += 1
        self.report(*wrong)

    def report(self, *wrong: str) -> None:
        """Adds what went wrong, without counting a trial."""
        for line in wrong:
            print(f"WRONG: {self.tried}: {line}", file=sys.stderr, flush=True)
        self.wrong += wrong


@dataclass(frozen=True)
class Setting:
    """How a campaign is to run.

    Attributes:
        short: whether to try little, for CI.
        work: an empty folder.
        seed: of random choices.
    """

    short: bool
    work: Path
    seed: int = 0

    def times(self, full: int, short: int) -> int:
        """How often to try something."""
        return short if self.short else full


@dataclass(frozen=True)
class Campaign:
    """A campaign.

    Attributes:
        about: what it asks, in a few words.
        minutes: after which it counts as hanging, also on a machine that is busy.
        in_short: whether the short form runs it.
    """

    name: str
    about: str
    minutes: float = 60.0
    in_short: bool = True

    def rows(self, setting: Setting) -> Iterator[Row]:
        """Runs it, from the function `rows` of its module; yields each row when it is complete."""
        module = import_module(f"benchmarks.torture.{self.name}")
        rows = cast("Callable[[Setting], Iterator[Row]]", module.rows)
        return rows(setting)


CAMPAIGNS = {
    campaign.name: campaign
    for campaign in (
        Campaign("killed", "Killed", minutes=120),
        Campaign("signals", "Interrupted"),
        Campaign("disk", "Disks"),
        Campaign("damage", "Damaged files"),
        Campaign("together", "Several processes in one folder"),
        Campaign("bad_input", "Bad input"),
        Campaign("environments", "Environments", in_short=False),
        Campaign("determinism", "Determinism", in_short=False),
        Campaign("predictions", "Memory and time, predicted", in_short=False),
        Campaign("numerics", "Numerics"),
        Campaign("changes", "Changes that `check` finds, in both directions"),
        Campaign("supply", "Supply chain"),
        Campaign("mutants", "Tests that bite", minutes=600, in_short=False),
        Campaign("order", "Tests in random order", minutes=600, in_short=False),
    )
}
