"""The page results/learning-rates.md, from the accuracies that `learning_rates` measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.measurements import Measurements
from subspace_bench.reporting.page import Page

NAME = "learning-rates"
NETS = {"conv-plain": 21_840, "fc": 199_210}  # and their D
TOLERANCE = 1.0  # points
NOISY = 100  # below this d, seeds differ by more than rates do
Setting = tuple[str, str, str]
SETTINGS: tuple[Setting, ...] = (  # scaling, optimizer, schedule
    ("fan-in", "adam", "one-cycle"),
    ("none", "adam", "one-cycle"),
    ("fan-in", "adam", "constant"),
    ("fan-in", "sgd", "one-cycle"),
)


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
        """Points lost against the best rate; scores are interpolated over log rate."""
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
    within = sum(loss <= TOLERANCE for loss in large)
    best = [cell.best for cell in unit[1]]
    summary = (
        f"With rows scaled by fan-in, one peak rate of Adam, {rate:g}, is within {TOLERANCE:g} "
        f"point of the best rate in {within} of {len(large)} cells (two nets, two projectors, d "
        f"from {NOISY} to 10,000), and loses at most {max(large):.1f}. "
        f"Columns of norm 1 need rates from {min(best):.2g} to {max(best):.2g}."
    )
    values = {
        "facts": measurements.facts,
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
        "Learning rates: one for most D and d",
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
    rows = rows[(rows[["scaling", "optimizer", "schedule"]] == list(setting)).all(axis="columns")]
    found = []
    for key, cell in rows.groupby(["net", "projector", "dim"], sort=False):
        tried = cell.groupby("rate")["seed"].transform("nunique")
        cell = cell[tried == tried.max()]  # the search tries some rates with the first seed only
        net, projector, dim = str(key[0]), str(key[1]), int(str(key[2]))
        factor = (NETS[net] / dim) ** 0.5 if unit_columns else 1.0
        means = cell.groupby("rate")["accuracy"].mean()  # sorted by rate
        rates = factor * means.index.to_numpy(dtype=float)
        found.append(Scores(net, projector, dim, cell["seed"].nunique(), rates, means.to_numpy()))
    return found


def judge(cells: list[Scores]) -> tuple[float, list[Cell]]:
    """The rate that loses least, at worst, over cells of d ≥ NOISY; and all cells' losses.

    Candidates are rates of the grids that lie within the grids of all these cells.
    """
    large = [cell for cell in cells if cell.dim >= NOISY]
    lowest = max(cell.rates[0] for cell in large)
    highest = min(cell.rates[-1] for cell in large)
    rates = sorted({float(r) for cell in large for r in cell.rates if lowest <= r <= highest})
    shared = min(rates, key=lambda r: max(cell.loss(r) for cell in large))
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
