"""What a table of the suite is: the runs it needs, and how its page reads.

An experiment asks for runs and reads their records; it never trains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from subspace_bench.runs import Record, Run, Store
from subspace_bench.statistics import Sample

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PROFILES = ("quick", "post", "full")
QUICK_STEPS = {"fc": 501}  # its projector is nine times as large
QUICK_STEPS_ELSE = 1_001
QUICK_LARGEST = 3_000  # d


@dataclass(frozen=True)
class Plan:
    """What a reader asked for: how much, how often, on which data and device."""

    profile: str = "post"
    seeds: int = 1
    dataset: str = "mnist"
    device: str = "cpu"

    def cut(self, run: Run) -> Run | None:
        """The run as this plan trains it, or None where it leaves it out."""
        run = replace(run, dataset=self.dataset, device=self.device)
        if self.profile != "quick":
            return run
        if (run.dim or 0) > QUICK_LARGEST:
            return None
        steps = QUICK_STEPS.get(run.model, QUICK_STEPS_ELSE)
        return run.with_steps(min(steps, run.protocol.steps))

    def all_seeds(self, runs: Sequence[Run]) -> list[Run]:
        """Every run, cut to the plan, with each seed; the same run once."""
        cut = [c for run in runs if (c := self.cut(run)) is not None]
        return list(dict.fromkeys(replace(c, seed=s) for s in range(self.seeds) for c in cut))


class Evidence:
    """The records that a page is made from: the committed reference, and the reader's own."""

    def __init__(self, plan: Plan, reference: Store | None, own: Store | None) -> None:
        self.plan = plan
        self._reference, self._own = reference, own

    def reference(self, run: Run) -> list[Record]:
        """Reference records of the full-length run, one for each seed."""
        return self._by_run[0].get(replace(run, seed=0), [])

    def own(self, run: Run) -> list[Record]:
        """The reader's own records of the run as the plan trains it, one for each seed."""
        cut = self.plan.cut(run)
        return [] if cut is None else self._by_run[1].get(replace(cut, seed=0), [])

    @property
    def quick(self) -> bool:
        return self.plan.profile == "quick"

    @property
    def comparable(self) -> bool:
        """Whether numbers may be held against the post's: not on the embedded digits."""
        return self.plan.dataset == "mnist"

    @cached_property
    def has_own(self) -> bool:
        return bool(self._by_run[1])

    def scored_at(self, run: Run) -> int:
        """Updates after which accuracies are compared: the post's last score, or quick's."""
        cut = self.plan.cut(run)
        return (cut or run).protocol.last_score

    def sample(self, run: Run, own: bool, updates: int | None = None) -> Sample:
        """Accuracies over seeds after `updates`, by default those of `scored_at`."""
        at = updates or self.scored_at(run)
        records = self.own(run) if own else self.reference(run)
        found = [r.accuracy_at(at) for r in records]
        return Sample(tuple(a for a in found if a is not None))

    @cached_property
    def _by_run(self) -> tuple[dict[Run, list[Record]], dict[Run, list[Record]]]:
        return _grouped(self._reference), _grouped(self._own)


def _grouped(store: Store | None) -> dict[Run, list[Record]]:
    """Records by their run with the seed put to 0, in the order of seeds."""
    groups: dict[Run, list[Record]] = {}
    for record in store.records() if store else ():
        groups.setdefault(replace(record.run, seed=0), []).append(record)
    for records in groups.values():
        records.sort(key=lambda r: r.run.seed)
    return groups


@dataclass(frozen=True)
class Page:
    """One table of the suite, ready to be written.

    Attributes:
        opening: paragraphs above the table.
        frame: what the page and the terminal show, all strings.
        data: the same in numbers, for the csv.
        notes: paragraphs under the table.
        verdict: one line, for the index.
        figures: name → function that draws it.
    """

    title: str
    opening: list[str]
    frame: pd.DataFrame
    data: pd.DataFrame
    notes: list[str]
    verdict: str
    figures: dict[str, Callable[[], Figure]] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """A table by its name: which runs it needs under a plan, and its page from the evidence."""

    name: str
    title: str
    runs: Callable[[Plan], list[Run]]
    page: Callable[[Evidence], Page]
