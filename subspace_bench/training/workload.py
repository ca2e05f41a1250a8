"""What a set of studies needs: which runs have no record yet, and what training those will cost."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Record
from subspace_bench.training.cost import Cost, estimator


@dataclass(frozen=True)
class Workload:
    """The runs of some studies.

    Attributes:
        cases: study name → its runs.
        costs: run → expected cost, for every run of every study, each once.
        waiting: the runs to train, cheap ones first.
    """

    cases: Mapping[str, Sequence[RunConfig]]
    costs: Mapping[RunConfig, Cost]
    waiting: Sequence[RunConfig]

    @property
    def waiting_costs(self) -> list[Cost]:
        return [self.costs[run] for run in self.waiting]


def plan_workload(
    cases: Mapping[str, Sequence[RunConfig]],
    local: Collection[Record],
    committed: Iterable[Record] = (),
    retrain: bool = False,
) -> Workload:
    """The workload of these cases.

    Arguments:
        local: records that need no training again.
        committed: further records, only to predict costs from.
        retrain: train every run, also those with a local record.
    """
    # This machine's figures predict better than those of the machine that wrote the others.
    cost_of = estimator([*local, *committed])
    costs = {run: cost_of(run) for run in dict.fromkeys(r for runs in cases.values() for r in runs)}
    recorded = set() if retrain else {record.run for record in local}
    waiting = [run for run in costs if run not in recorded]
    return Workload(cases, costs, sorted(waiting, key=lambda run: costs[run].seconds))
