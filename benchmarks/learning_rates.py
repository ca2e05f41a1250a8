"""Which learning rate suits which D and d: writes results/learning-rates.md, .csv and .json.

    python -m benchmarks.learning_rates [--rebuild]

Trains short runs of two nets in subspaces of 10 to 10,000 dimensions at many rates. Each training
is a plain torch loop around `Subspace`, on one thread. A second call resumes from the csv.

Criterion, fixed before the runs: a parametrisation has one rate for all if some rate loses at most
1 point of held-out accuracy against the best rate of every cell (net, projector, d).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import cross_entropy

from benchmarks import measurements
from benchmarks.learning_rates_page import NAME, NETS, page
from benchmarks.rate_search import best_rate
from subspace_bench import Subspace, UserError, models
from subspace_bench.datasets.loading import load_or_embedded
from subspace_bench.records import provenance

SMALL, LARGE = (10, 30), (100, 300, 1_000, 3_000, 10_000)
FEW = (100, 1_000, 10_000)
START = (0.2, 0.4, 0.8)
WIDE = (
    0.00625,
    0.0125,
    0.025,
    0.05,
    0.1,
    0.2,
)  # so that some rate for unit columns is in all grids
STEPS, BATCH, HELD_OUT, SCORED = 400, 64, 10_000, 4_000


@dataclass(frozen=True)
class Case:
    """One training.

    Attributes:
        rate: the peak learning rate, in units of scaling "fan-in": times √(D/d) for "none", so
            that Adam moves the coordinates of θ equally far under both (but for fan-in).
    """

    scaling: str
    optimizer: str
    schedule: str
    net: str
    projector: str
    dim: int
    rate: float
    seed: int


@dataclass(frozen=True)
class Group:
    """Trainings that differ in net, projector, d, rate and seed.

    Attributes:
        rates: the grid of each cell, extended by factors of two until its best lies inside.
    """

    scaling: str
    optimizer: str
    schedule: str
    projector: str
    dims: tuple[int, ...]
    rates: tuple[float, ...]
    seeds: int


GROUPS = (  # in order of importance
    Group("fan-in", "adam", "one-cycle", "hashed", LARGE, START, 1),
    Group("fan-in", "adam", "one-cycle", "fastfood", FEW, START, 1),
    Group("none", "adam", "one-cycle", "hashed", FEW, WIDE, 1),
    Group("fan-in", "adam", "constant", "hashed", FEW, (0.05, 0.1, 0.2), 1),
    Group("fan-in", "adam", "one-cycle", "fastfood", FEW, START, 2),
    Group("fan-in", "sgd", "one-cycle", "hashed", FEW, START, 1),
    Group("fan-in", "adam", "one-cycle", "hashed", LARGE, START, 2),
    Group("fan-in", "adam", "one-cycle", "hashed", (100,), START, 4),
    Group("fan-in", "adam", "one-cycle", "hashed", SMALL, START, 4),
)


class Data:
    """Normalised training images, the last 10,000 (or a fifth) held out."""

    def __init__(self) -> None:
        dataset = load_or_embedded()
        images = (dataset.train_images.float()[:, None] / 255 - 0.1307) / 0.3081
        held_out = min(HELD_OUT, len(images) // 5)
        cut = len(images) - held_out
        self.name = dataset.name
        self.images, self.labels = images[:cut], dataset.train_labels[:cut]
        self.held_out = images[cut : cut + SCORED]
        self.held_out_labels = dataset.train_labels[cut : cut + SCORED]


def train(case: Case, data: Data) -> float:
    """Held-out accuracy of one training, in %; 0 if it diverged."""
    torch.manual_seed(case.seed)
    module = models.build(case.net)
    net = Subspace(module, case.dim, case.projector, case.seed, scaling=case.scaling)
    rate = case.rate
    if case.scaling == "none":
        rate *= (NETS[case.net] / case.dim) ** 0.5
    optimizer: torch.optim.Optimizer = torch.optim.Adam(net.parameters(), rate)
    if case.optimizer == "sgd":
        optimizer = torch.optim.SGD(net.parameters(), rate, momentum=0.9)
    if case.schedule == "one-cycle":
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, rate, total_steps=STEPS + 1, pct_start=0.25, cycle_momentum=False
        )
    try:
        for images, labels in batches(data):
            optimizer.zero_grad()
            cross_entropy(net(images), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if case.schedule == "one-cycle":
                schedule.step()
        with torch.no_grad():
            answers = torch.cat([net(part).argmax(1) for part in torch.split(data.held_out, 500)])
    except UserError:  # ω is NaN
        return 0.0
    return 100 * float((answers == data.held_out_labels).double().mean())


def batches(data: Data) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """STEPS batches from permutations of the training images (torch's global generator)."""
    epochs = -(-STEPS * BATCH // len(data.images))
    order = torch.cat([torch.randperm(len(data.images)) for _ in range(epochs)])
    for batch in torch.split(order[: STEPS * BATCH], BATCH):
        yield data.images[batch], data.labels[batch]


class Runs:
    """All trainings so far, kept in the csv."""

    def __init__(self, out: Path) -> None:
        self.out, self.data = out, Data()
        self.facts = {
            **provenance.machine(),
            "dataset": self.data.name,
            "steps": STEPS,
            "batch": BATCH,
            "scored": len(self.data.held_out),
        }
        self.scores: dict[Case, float] = {}
        if (out / f"{NAME}.csv").is_file():
            for row in measurements.load(NAME, out).numbers.to_dict("records"):
                score = row.pop("accuracy")
                self.scores[Case(**{str(k): v for k, v in row.items()})] = score

    def score(self, case: Case) -> float:
        """The held-out accuracy of a case, trained if it is new."""
        if case not in self.scores:
            start = time.perf_counter()
            self.scores[case] = round(train(case, self.data), 3)
            print(*asdict(case).values(), self.scores[case], f"{time.perf_counter() - start:.1f} s")
            self.save()
        return self.scores[case]

    def save(self) -> None:
        rows = [{**asdict(case), "accuracy": score} for case, score in self.scores.items()]
        measurements.save(NAME, self.out, pd.DataFrame(rows), self.facts)

    def search(self, group: Group, net: str, dim: int) -> None:
        """Trains one cell at the group's rates, and at more until the best lies inside."""
        case = Case(
            group.scaling, group.optimizer, group.schedule, net, group.projector, dim, 0.0, 0
        )

        def accuracy(rate: float) -> float:
            seeds = range(group.seeds)
            return float(np.mean([self.score(replace(case, rate=rate, seed=s)) for s in seeds]))

        best_rate(group.rates, accuracy)


def measure(out: Path) -> None:
    """Trains what the csv lacks."""
    torch.set_num_threads(1)
    runs = Runs(out)
    for group in GROUPS:
        for dim, net in itertools.product(group.dims, NETS):
            runs.search(group, net, dim)


def main() -> None:
    measurements.run(__doc__, NAME, measure, page)


if __name__ == "__main__":
    main()
