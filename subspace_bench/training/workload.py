"""The runs that a set of studies needs: which have no record yet, and the cost of training them."""

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
        costs: run → expected cost, for every run of every study.
        pending: the runs to train, cheapest first.
    """

    cases: Mapping[str, Sequence[RunConfig]]
    costs: Mapping[RunConfig, Cost]
    pending: Sequence[RunConfig]

    @property
    def pending_costs(self) -> list[Cost]:
        return [self.costs[run] for run in self.pending]


def plan_workload(
    cases: Mapping[str, Sequence[RunConfig]],
    local: Collection[Record],
    committed: Iterable[Record] = (),
    retrain: bool = False,
) -> Workload:
    """Plans the training of these cases.

    Arguments:
        local: records whose runs are not trained again.
        committed: other records, used only to predict costs.
        retrain: train every run, including those with a local record.
    """
    # Local records come first: costs on this machine predict best.
    cost_of = estimator([*local, *committed])
    costs = {run: cost_of(run) for run in dict.fromkeys(r for runs in cases.values() for r in runs)}
    recorded = set() if retrain else {record.run for record in local}
    pending = [run for run in costs if run not in recorded]
    return Workload(cases, costs, sorted(pending, key=lambda run: costs[run].seconds))
