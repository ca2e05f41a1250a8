"""The intrinsic dimensions of Li et al. 2018 on MNIST: writes results/intrinsic-dimension.md, .csv.

    python -m benchmarks.intrinsic_dimension [--rebuild]

Searches d_int for each net, as `subspace-bench dimension` does, on one thread; Fashion-MNIST is
left out where its files are not at hand. A second call continues. `benchmarks/li2018.py` has nets,
protocol and criterion.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch

from benchmarks import measurements
from benchmarks.intrinsic_dimension_page import COLUMNS, LENGTH, NAME, SEARCH, page
from benchmarks.li2018 import CASES, COMPARED, EPOCHS, FASHION, LONG_EPOCHS, RATE, SEEDS, Case
from subspace_bench.datasets.download import DatasetUnavailable
from subspace_bench.datasets.loading import load
from subspace_bench.dimension.measure import measure
from subspace_bench.dimension.plan import Plan
from subspace_bench.dimension.trainings import Trainings
from subspace_bench.dimension.trial import Outcome, Trial, carry_out
from subspace_bench.records import provenance
from subspace_bench.reporting.render import write_page

THRESHOLD, TRAININGS = 90.0, 20


def plan_of(case: Case) -> Plan:
    """Li et al.'s global target, 90% accuracy, or the local one where no net reaches that."""
    threshold = None if case.dataset == FASHION else THRESHOLD
    return Plan(threshold=threshold, trainings=TRAININGS, projector=case.projector, scaling="none")


class Rows:
    """All trainings so far: the csv of the page."""

    def __init__(self, out: Path) -> None:
        self.out, self.trainings = out, dict[tuple[str, Case], Trainings]()
        self.facts = {
            **provenance.machine(),
            **{"threshold": THRESHOLD, "trainings": TRAININGS, "seeds": SEEDS},
            **{"epochs": EPOCHS, "long_epochs": LONG_EPOCHS, "rate": RATE},
        }

    def add(self, purpose: str, case: Case, trainings: Trainings) -> None:
        """Takes the trainings of a case and writes the csv."""
        self.trainings[purpose, case] = trainings
        rows = [
            (purpose, case.dataset, case.net, case.projector, case.shuffled, case.epochs,
             "plain" if trial.dim is None else "subspace", trial.dim or outcome.native, trial.seed,
             round(outcome.score, 2), outcome.native, round(outcome.seconds, 1))
            for (purpose, case), known in self.trainings.items()
            for trial, outcome in known.outcomes.items()
        ]  # fmt: skip
        measurements.save(NAME, self.out, pd.DataFrame(rows, columns=COLUMNS), self.facts)


def compare_lengths(case: Case, dim: int, rows: Rows, local: Path) -> None:
    """Trains SEEDS seeds at one d."""
    trainings = Trainings(case.task(), plan_of(case), local)
    for seed in range(SEEDS):
        trial = Trial(dim, seed)
        if trial not in trainings.outcomes:
            trainings.add(trial, carry_out(trainings.task, trial, trainings.plan))
            print(case.name, trial.label, trainings.outcomes[trial].score, flush=True)
    rows.add(LENGTH, case, trainings)


def search(case: Case, rows: Rows, local: Path) -> None:
    """Searches d_int of one case."""

    def show(trial: Trial, outcome: Outcome, trainings: Trainings) -> None:
        print(case.name, trial.label, outcome.score, f"{outcome.seconds:.0f} s", flush=True)
        rows.add(SEARCH, case, trainings)

    task, plan = case.task(), plan_of(case)
    print(measure(task, plan, local, show), flush=True)
    rows.add(SEARCH, case, Trainings(task, plan, local))


def main() -> None:
    options = measurements.options(__doc__).parse_args()
    if not options.rebuild:
        torch.set_num_threads(1)
        rows, local = Rows(options.out), options.out / "runs" / NAME
        for net, dim in COMPARED.items():
            for epochs in (EPOCHS, LONG_EPOCHS):
                folder = local / f"{epochs}-epochs"  # apart from the searches
                compare_lengths(Case(net, epochs=epochs), dim, rows, folder)
        for case in CASES:
            try:
                load(case.dataset)
            except DatasetUnavailable as failure:
                print(f"left out: {failure}", flush=True)
                continue
            search(case, rows, local)
    print(*write_page(page(measurements.load(NAME, options.out)), options.out), sep="\n")


if __name__ == "__main__":
    main()
