"""What a table of the suite is: the runs it needs, and how its page reads.

An experiment asks for runs and reads their records; it never trains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from subspace_bench.experiments.legacy_page import Page
from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Record, Store
from subspace_bench.reporting.statistics import Sample

if TYPE_CHECKING:
    pass

PROFILES = ("quick", "post", "full")
# Of a quick run: (updates, largest d); FC's projector is nine times as large as conv's.
QUICK, QUICK_FC = (1_001, 3_000), (501, 300)


@dataclass(frozen=True)
class Plan:
    """What a reader asked for: how much, how often, on which data and device."""

    profile: str = "post"
    seeds: int = 1
    dataset: str = "mnist"
    device: str = "cpu"

    def cut(self, run: RunConfig) -> RunConfig | None:
        """The run as this plan trains it, or None where it leaves it out."""
        run = replace(run, dataset=self.dataset, device=self.device)
        if self.profile != "quick":
            return run
        steps, largest = QUICK_FC if run.model == "fc" else QUICK
        if (run.dim or 0) > largest or run.protocol.score_every > steps // 5:
            return None  # too large, or scored too rarely to be cut
        return run.with_steps(min(steps, run.protocol.steps))

    def all_seeds(self, runs: Sequence[RunConfig]) -> list[RunConfig]:
        """Every run, cut to the plan, with each seed; the same run once."""
        cut = [c for run in runs if (c := self.cut(run)) is not None]
        return list(dict.fromkeys(replace(c, seed=s) for s in range(self.seeds) for c in cut))


class Evidence:
    """The records that a page is made from: the committed reference, and the reader's own.

    Records of all devices count, one a seed, those of the plan's device first; records of another
    dataset never do.
    """

    def __init__(self, plan: Plan, reference: Store | None, own: Store | None) -> None:
        self.plan = plan
        self._reference, self._own = reference, own

    def reference(self, run: RunConfig) -> list[Record]:
        """Reference records of the full-length run, one for each seed."""
        return self._by_run[0].get(training(replace(run, dataset=self.plan.dataset)), [])

    def own(self, run: RunConfig) -> list[Record]:
        """The reader's own records of the run as the plan trains it, one for each seed."""
        cut = self.plan.cut(run)
        return [] if cut is None else self._by_run[1].get(training(cut), [])

    def records(self, run: RunConfig, own: bool) -> list[Record]:
        return self.own(run) if own else self.reference(run)

    @property
    def quick(self) -> bool:
        return self.plan.profile == "quick"

    @property
    def comparable(self) -> bool:
        """Whether numbers may be held against the post's: not on other images than MNIST's."""
        return self.plan.dataset == "mnist"

    @property
    def with_own(self) -> bool:
        """Whether a store of own records takes part at all, filled or not."""
        return self._own is not None

    def scored_at(self, run: RunConfig) -> int:
        """Updates after which accuracies are compared: the run's last score, or quick's."""
        return (self.plan.cut(run) or run).protocol.last_score

    def sample(self, run: RunConfig, own: bool, updates: int | None = None) -> Sample:
        """Accuracies over seeds after `updates`, by default those of `scored_at`."""
        at = updates or self.scored_at(run)
        found = [r.accuracy_at(at) for r in self.records(run, own)]
        return Sample(tuple(a for a in found if a is not None))

    @cached_property
    def _by_run(self) -> tuple[dict[RunConfig, list[Record]], dict[RunConfig, list[Record]]]:
        device = self.plan.device
        return _grouped(self._reference, device), _grouped(self._own, device)


def training(run: RunConfig) -> RunConfig:
    """The run with its seed and device put aside."""
    return replace(run, seed=0, device="cpu")


def _grouped(store: Store | None, device: str) -> dict[RunConfig, list[Record]]:
    """Records by their training, in the order of seeds, one a seed."""
    groups: dict[RunConfig, dict[int, Record]] = {}
    found = list(store.records()) if store else []
    for record in sorted(found, key=lambda r: r.run.device != device):
        groups.setdefault(training(record.run), {}).setdefault(record.run.seed, record)
    return {run: [by_seed[s] for s in sorted(by_seed)] for run, by_seed in groups.items()}


def always(evidence: Evidence) -> str:
    """No reason to withhold a page."""
    return ""


@dataclass(frozen=True)
class Study:
    """A table by its name: which runs it needs under a plan, and its page from the evidence.

    `withheld` says why such evidence makes no page, so that one already there stays; else "".
    """

    name: str
    title: str
    runs: Callable[[Plan], list[RunConfig]]
    page: Callable[[Evidence], Page]
    withheld: Callable[[Evidence], str] = always
