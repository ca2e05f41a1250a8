"""Which learning rate suits which D and d: writes results/learning-rates.md, .csv and .json.

    python -m benchmarks.learning_rates [--rebuild]

Trains short runs of two nets in subspaces of 10 to 10,000 dimensions at many rates. Each training
is a plain torch loop around `Subspace`, on one thread. A second call resumes from the csv.

Criterion, fixed before the runs: a parametrisation has one rate for all if some rate loses at most
1 point of held-out accuracy against the best rate of every cell (net, projector, d).
"""

from __future__ import annotations

import argparse
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
from benchmarks.measurements import Measurements
from subspace_bench import Subspace, UserError, models
from subspace_bench.datasets.loading import load_or_embedded
from subspace_bench.records import provenance
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.render import write_page

NAME = "learning-rates"
SMALL, LARGE = (10, 30), (100, 300, 1_000, 3_000, 10_000)
FEW = (100, 1_000, 10_000)
START = (0.2, 0.4, 0.8)
NETS = {"conv-plain": 21_840, "fc": 199_210}  # and their D
STEPS, BATCH, HELD_OUT, SCORED = 400, 64, 10_000, 4_000
TOLERANCE = 1.0  # points
NOISY = 100  # below this d, seeds differ by more than rates do
SETTING = ("scaling", "optimizer", "schedule")
Setting = tuple[str, str, str]
SETTINGS: tuple[Setting, ...] = (
    ("fan-in", "adam", "one-cycle"),
    ("none", "adam", "one-cycle"),
    ("fan-in", "adam", "constant"),
    ("fan-in", "sgd", "one-cycle"),
)


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
    Group("none", "adam", "one-cycle", "hashed", FEW, (0.025, 0.05, 0.1), 1),
    Group("fan-in", "adam", "constant", "hashed", FEW, (0.05, 0.1, 0.2), 1),
    Group("fan-in", "adam", "one-cycle", "fastfood", FEW, START, 2),
    Group("fan-in", "sgd", "one-cycle", "hashed", FEW, START, 1),
    Group("fan-in", "adam", "one-cycle", "hashed", LARGE, START, 2),
    Group("fan-in", "adam", "one-cycle", "hashed", SMALL, START, 8),
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
        self.facts = {**provenance.machine(), "dataset": self.data.name}
        self.scores: dict[Case, float] = {}
        if (out / f"{NAME}.csv").is_file():
            for row in pd.read_csv(out / f"{NAME}.csv").to_dict("records"):
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
        rates = list(group.rates)
        while True:
            scores = [
                np.mean([self.score(replace(case, rate=r, seed=s)) for s in range(group.seeds)])
                for r in rates
            ]
            best = int(np.argmax(scores))
            if best == 0:
                rates.insert(0, rates[0] / 2)
            elif best == len(rates) - 1:
                rates.append(rates[-1] * 2)
            else:
                return


def measure(out: Path) -> None:
    """Trains what the csv lacks."""
    torch.set_num_threads(1)
    runs = Runs(out)
    for group in GROUPS:
        for dim, net in itertools.product(group.dims, NETS):
            runs.search(group, net, dim)


@dataclass(frozen=True)
class Scores:
    """Mean accuracies of one net, projector and d at every rate tried, in order of rates."""

    net: str
    projector: str
    dim: int
    seeds: int
    rates: np.ndarray
    accuracies: np.ndarray

    def loss(self, rate: float) -> float:
        """Points lost against the best rate.

        Interpolates over log rate. Beyond the grid it takes the score at the end of the grid, so
        the loss is a lower bound there.
        """
        score = np.interp(np.log(rate), np.log(self.rates), self.accuracies)
        return float(self.accuracies.max() - score)


@dataclass(frozen=True)
class Cell:
    """The best rate of one net, projector and d, and what a shared rate loses against it."""

    net: str
    projector: str
    dim: int
    seeds: int
    best: float
    accuracy: float
    loss: float


def page(measurements: Measurements) -> Page:
    """The page results/learning-rates.md."""
    rows = measurements.numbers
    found = {setting: judge(scores(rows, setting)) for setting in SETTINGS}
    unit = judge(scores(rows, SETTINGS[1], unit_columns=True))
    rate, cells = found[SETTINGS[0]]
    settings = [
        describe("1/√fan-in", SETTINGS[0], *found[SETTINGS[0]]),
        describe("1", SETTINGS[1], *found[SETTINGS[1]]),
        describe("√(d/D): columns of norm 1", SETTINGS[1], *unit),
        *(describe("1/√fan-in", setting, *found[setting]) for setting in SETTINGS[2:]),
    ]
    large = [cell.loss for cell in cells if cell.dim >= NOISY]
    summary = (
        f"With rows scaled by fan-in, one peak rate of Adam, {rate:g}, loses at most "
        f"{max(large):.1f} points against the best rate at every d from {NOISY} to 10,000, for "
        f"both nets and projectors. Columns of norm 1 need rates from "
        f"{min(cell.best for cell in unit[1]):.2g} to {max(cell.best for cell in unit[1]):.2g}."
    )
    values = {
        "facts": measurements.facts,
        "steps": STEPS,
        "batch": BATCH,
        "scored": SCORED,
        "tolerance": TOLERANCE,
        "noisy": NOISY,
        "rate": rate,
    }
    tables = {
        "settings": pd.DataFrame(settings),
        "cells": pd.DataFrame(shown(cell, rate) for cell in cells),
    }
    return Page(
        NAME,
        "Learning rates: one for all D and d",
        summary,
        tables,
        measurements.text,
        values,
        command="python -m benchmarks.learning_rates --rebuild",
    )


def scores(rows: pd.DataFrame, setting: Setting, unit_columns: bool = False) -> list[Scores]:
    """The mean accuracy over seeds at every rate, cell by cell.

    Arguments:
        unit_columns: rates for columns of norm 1 instead of rows of norm 1.
    """
    rows = rows[(rows[list(SETTING)] == setting).all(axis="columns")]
    found = []
    for key, cell in rows.groupby(["net", "projector", "dim"], sort=False):
        complete = cell.groupby("seed")["rate"].nunique()
        cell = cell[cell["seed"].isin(complete.index[complete == complete.max()])]
        net, projector, dim = str(key[0]), str(key[1]), int(str(key[2]))
        factor = (NETS[net] / dim) ** 0.5 if unit_columns else 1.0
        means = cell.groupby("rate")["accuracy"].mean()  # sorted by rate
        rates = factor * means.index.to_numpy(dtype=float)
        found.append(Scores(net, projector, dim, cell["seed"].nunique(), rates, means.to_numpy()))
    return found


def judge(cells: list[Scores]) -> tuple[float, list[Cell]]:
    """The rate of the grids that loses least, at worst, over cells of d ≥ NOISY; all losses."""
    rates = sorted({float(rate) for cell in cells for rate in cell.rates})
    shared = min(rates, key=lambda r: max(cell.loss(r) for cell in cells if cell.dim >= NOISY))
    judged = [
        Cell(
            cell.net,
            cell.projector,
            cell.dim,
            cell.seeds,
            float(cell.rates[cell.accuracies.argmax()]),
            float(cell.accuracies.max()),
            cell.loss(shared),
        )
        for cell in cells
    ]
    return shared, judged


def describe(rows: str, setting: Setting, rate: float, cells: list[Cell]) -> dict[str, str]:
    """A line of the table of settings."""
    best = [cell.best for cell in cells]
    return {
        "norm of P's rows": rows,
        "optimizer": ", ".join(setting[1:]),
        "best rates of the cells": f"{min(best):.2g} to {max(best):.2g}",
        "shared rate": f"{rate:.2g}",
        "worst loss": f"{max(c.loss for c in cells if c.dim >= NOISY):.1f}",
    }


def shown(cell: Cell, rate: float) -> dict[str, str]:
    """A line of the table of cells."""
    return {
        "net": cell.net,
        "D": f"{NETS[cell.net]:,}",
        "projector": cell.projector,
        "d": f"{cell.dim:,}",
        "seeds": str(cell.seeds),
        "best rate": f"{cell.best:g}",
        "accuracy": f"{cell.accuracy:.1f}",
        f"accuracy at {rate:g}": f"{cell.accuracy - cell.loss:.1f}",
        "loss": f"{cell.loss:.1f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rebuild", action="store_true", help="write the page; measure nothing")
    parser.add_argument("--out", type=Path, default=Path("results"))
    options = parser.parse_args()
    if not options.rebuild:
        measure(options.out)
    print(*write_page(page(measurements.load(NAME, options.out)), options.out), sep="\n")


if __name__ == "__main__":
    main()
