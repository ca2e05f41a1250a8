"""How many of a net's parameters are needed? Writes results/bloat.md, .csv.

    python -m benchmarks.bloat [--rebuild]

Searches d_int of each net of `benchmarks/bloat_nets.py`, as `subspace-bench dimension` does, on one
thread. A second call continues. About an hour of one core, half of it for resnet-20, the last.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch

from benchmarks import measurements
from benchmarks.bloat_nets import BATCH, EPOCHS, IMAGES, NETS, PLAIN_RATE, RATE, task
from benchmarks.bloat_page import COLUMNS, NAME, page
from subspace_bench.dimension.measure import measure
from subspace_bench.dimension.plan import Plan
from subspace_bench.dimension.trainings import Trainings
from subspace_bench.dimension.trial import Outcome, Trial
from subspace_bench.records import provenance
from subspace_bench.reporting.render import write_page

PLAN = Plan(trainings=20, width=1.25)  # ratios of 10 to 10,000 need no narrower interval


class Rows:
    """All trainings so far: the csv of the page."""

    def __init__(self, out: Path) -> None:
        self.out, self.trainings = out, dict[str, Trainings]()
        self.facts = {
            **provenance.machine(),
            **{"trainings": PLAN.trainings, "width": PLAN.width, "images": IMAGES},
            **{"epochs": EPOCHS, "batch": BATCH, "rate": RATE, "plain_rate": PLAIN_RATE},
        }

    def add(self, net: str, trainings: Trainings) -> None:
        """Takes the trainings of a net and writes the csv."""
        self.trainings[net] = trainings
        rows = [
            (net, "plain" if trial.dim is None else "subspace", trial.dim or outcome.native,
             trial.seed, round(outcome.score, 2), outcome.native, round(outcome.seconds, 1))
            for net, known in self.trainings.items()
            for trial, outcome in known.outcomes.items()
        ]  # fmt: skip
        measurements.save(NAME, self.out, pd.DataFrame(rows, columns=COLUMNS), self.facts)


def search(net: str, rows: Rows, local: Path) -> None:
    """Searches d_int of a net."""

    def show(trial: Trial, outcome: Outcome, trainings: Trainings) -> None:
        print(net, trial.label, outcome.score, f"{outcome.seconds:.0f} s", flush=True)
        rows.add(net, trainings)

    print(measure(task(net), PLAN, local, show), flush=True)
    rows.add(net, Trainings(task(net), PLAN, local))


def main() -> None:
    options = measurements.options(__doc__).parse_args()
    if not options.rebuild:
        torch.set_num_threads(1)
        rows = Rows(options.out)
        for net in NETS:
            search(net, rows, options.out / "runs" / NAME)
    print(*write_page(page(measurements.load(NAME, options.out)), options.out), sep="\n")


if __name__ == "__main__":
    main()
