"""How many of a net's parameters are needed? Writes results/bloat.md, .csv.

    python -m benchmarks.bloat [--rebuild]

Searches d_int of each net of `benchmarks/bloat_nets.py`, as `subspace-bench dimension` does, on one
thread, on MNIST-5k and, where its files are at hand, on Fashion-MNIST. A second call continues.
About an hour and a half of one core.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch

from benchmarks import measurements
from benchmarks.bloat_nets import BATCH, DATASETS, EPOCHS, IMAGES, NETS, PLAIN_RATE, RATE, task
from benchmarks.bloat_page import COLUMNS, NAME, page
from subspace_bench.datasets.download import DatasetUnavailable
from subspace_bench.datasets.loading import load
from subspace_bench.dimension.measure import measure
from subspace_bench.dimension.plan import Plan
from subspace_bench.dimension.trainings import Trainings
from subspace_bench.dimension.trial import Outcome, Trial
from subspace_bench.records import provenance
from subspace_bench.reporting.render import write_page

PLAN = Plan(trainings=20, interval_ratio=1.25)  # ratios of 10 to 10,000 need no narrower interval


class Rows:
    """All trainings so far: the csv of the page."""

    def __init__(self, out: Path) -> None:
        self.out, self.trainings = out, dict[tuple[str, str], Trainings]()
        self.facts = {
            **provenance.machine(),
            **{
                "trainings": PLAN.trainings,
                "interval_ratio": PLAN.interval_ratio,
                "images": IMAGES,
            },
            **{"epochs": EPOCHS, "batch": BATCH, "rate": RATE, "plain_rate": PLAIN_RATE},
        }

    def add(self, dataset: str, net: str, trainings: Trainings) -> None:
        """Takes the trainings of a net and writes the csv."""
        self.trainings[dataset, net] = trainings
        rows = [
            (dataset, net, "plain" if trial.dim is None else "subspace",
             trial.dim or outcome.native, trial.seed, round(outcome.score, 2), outcome.native,
             round(outcome.seconds, 1))
            for (dataset, net), known in self.trainings.items()
            for trial, outcome in known.outcomes.items()
        ]  # fmt: skip
        measurements.save(NAME, self.out, pd.DataFrame(rows, columns=COLUMNS), self.facts)


def search(dataset: str, net: str, rows: Rows, local: Path) -> None:
    """Searches d_int of a net."""

    def show(trial: Trial, outcome: Outcome, trainings: Trainings) -> None:
        print(net, trial.label, outcome.score, f"{outcome.seconds:.0f} s", flush=True)
        rows.add(dataset, net, trainings)

    wanted = task(net, dataset)
    print(measure(wanted, PLAN, local, show), flush=True)
    rows.add(dataset, net, Trainings(wanted, PLAN, local))


def main() -> None:
    options = measurements.options(__doc__).parse_args()
    if not options.rebuild:
        torch.set_num_threads(1)
        rows = Rows(options.out)
        for dataset in DATASETS:
            try:
                load(dataset)
            except DatasetUnavailable as failure:
                print(f"left out: {failure}", flush=True)
                continue
            for net in NETS:
                search(dataset, net, rows, options.out / "runs" / NAME)
    print(*write_page(page(measurements.load(NAME, options.out)), options.out), sep="\n")


if __name__ == "__main__":
    main()
