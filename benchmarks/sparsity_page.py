"""The page results/sparsity.md, from the trainings that `sparsity` ran."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.measurements import RESULTS, Measurements
from benchmarks.sparsity_methods import L1, L2, METHODS, NARROW, PLAIN, SMALL, SUBSPACE
from benchmarks.sparsity_storage import NATIVE, NUMBERS, equal_size, seeded_bytes
from subspace_bench.reporting.figures import PageFigure
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.statistics import MIN_SEEDS, Sample

NAME = "sparsity"
SHOWN = 1_000  # numbers, in the summary
COST = 1.0  # point of held-out accuracy that a penalty may cost there
Column = Callable[[pd.DataFrame, str, int], tuple[str, str]]  # (rows, method, k) → heading, cell
OTHERS = {  # committed tables; their marks and names in the figure
    "tutorials": ("s", "the tutorials' nets"),
    "mnist-lite": ("^", "the post's MNIST-lite nets"),
}


def page(measurements: Measurements) -> Page:
    """The page results/sparsity.md."""
    rows = measurements.numbers
    figure = PageFigure(
        functools.partial(draw, rows),
        "Test accuracy over stored numbers (left) and bytes (right), with 95% intervals; "
        "all nets on MNIST (axis: logarithm of the error)",
    )
    return Page(
        NAME,
        "What limits the number of parameters?",
        summary(rows, measurements.facts["threshold"]),
        {
            "numbers": table(rows, at_numbers),
            "bytes": table(rows, at_bytes),
            "penalties": penalties(rows),
            "choices": choices(rows),
        },
        measurements.text,
        {"facts": measurements.facts, "native": NATIVE},
        figures={NAME: figure},
        command="python -m benchmarks.sparsity --rebuild",
    )


def finals(rows: pd.DataFrame, method: str, size: int) -> pd.DataFrame:
    """The rows of the test scores of a method at k."""
    return rows[(rows["method"] == method) & (rows["stage"] == "final") & (rows["size"] == size)]


def summary(rows: pd.DataFrame, threshold: float) -> str:
    """What penalties leave, and the accuracy of each method at SHOWN numbers."""
    left = {name: fewest_in_use(rows, name) for name in (L2, L1)}
    means = {
        name: finals(rows, name, equal_size(SHOWN) if method.sparse else SHOWN)["accuracy"].mean()
        for name, method in METHODS.items()
    }
    ranked = sorted((name for name in means if means[name] > 0), key=lambda name: -means[name])
    shown = list(dict.fromkeys([*ranked[:1], SUBSPACE, NARROW]))  # the best, ours, the plain way
    return (
        f"Of the penalties tried, those that cost at most {COST:g} point leave at least "
        f"{left[L2]:,} (L2) or {left[L1]:,} (L1) of {NATIVE:,} weights above {threshold:g}. "
        f"In {seeded_bytes(SHOWN):,} bytes, "
        "test accuracy is " + "; ".join(f"{means[name]:.2f}% ({name})" for name in shown)
    )


def whole_nets(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the nets trained with every factor of a penalty, at D weights and one rate."""
    rate = rows.loc[rows["method"] == L1, "rate"].max()
    nets = rows[rows["method"].isin([PLAIN, L1, L2]) & (rows["stage"] == "select")]
    whole: pd.DataFrame = nets[(nets["rate"] == rate) & (nets["size"] == NATIVE)]
    return whole


def fewest_in_use(rows: pd.DataFrame, method: str) -> int:
    """Fewest weights in use with a penalty whose held-out accuracy is within COST of none."""
    nets = whole_nets(rows)
    least = nets.loc[nets["method"] == PLAIN, "accuracy"].max() - COST
    cheap = nets[nets["method"].isin([PLAIN, method]) & (nets["accuracy"] >= least)]
    return int(cheap["large"].min())


def at_numbers(rows: pd.DataFrame, method: str, k: int) -> tuple[str, str]:
    """The column of at most k numbers, and its cell: accuracy and bytes."""
    found = finals(rows, method, k)
    return f"k = {k:,}", cell(found, lambda n: f"{METHODS[method].storage(n):,} B")


def at_bytes(rows: pd.DataFrame, method: str, k: int) -> tuple[str, str]:
    """The column of as many bytes as a subspace of k takes, and its cell: accuracy and numbers."""
    found = finals(rows, method, equal_size(k) if METHODS[method].sparse else k)
    return f"{seeded_bytes(k):,} B", cell(found, lambda n: f"{n:,} numbers")


def cell(found: pd.DataFrame, describe: Callable[[int], str]) -> str:
    """Mean ± half-width of its 95% interval, and what it takes to store."""
    if found.empty:
        return ""
    shown = Sample(tuple(found["accuracy"])).show().removesuffix(f" (n = {MIN_SEEDS})")
    return f"{shown}; {describe(int(found['numbers'].iloc[0]))}"


def table(rows: pd.DataFrame, column: Column) -> pd.DataFrame:
    """A line for each method; a column for each k."""
    lines = [{"method": name} | dict(column(rows, name, k) for k in NUMBERS) for name in METHODS]
    return pd.DataFrame(lines)


def penalties(rows: pd.DataFrame) -> pd.DataFrame:
    """A line for each penalty tried: weights in use, and held-out accuracy at every k."""
    lines = []
    for net in whole_nets(rows).itertuples():
        same = rows[
            (rows["method"] == net.method)
            & (rows["stage"] == net.stage)
            & (rows["rate"] == net.rate)
            & (rows["penalty"] == net.penalty)
        ]
        accuracies = same.set_index("size")["accuracy"]
        lines.append(
            {
                "penalty": "none" if net.method == PLAIN else str(net.method).partition(" ")[0],
                "factor": f"{net.penalty:g}",
                "weights in use": f"{net.large:,}",
                "in use, other seeds": in_use(rows, str(net.method), net.penalty),
                **{f"largest {k:,}": f"{accuracies[k]:.2f}" for k in reversed(NUMBERS)},
            }
        )
    return pd.DataFrame(lines)


def in_use(rows: pd.DataFrame, method: str, penalty: Any) -> str:
    """Weights in use in the nets of the final seeds, where a factor was chosen for any k."""
    chosen = rows[(rows["method"] == method) & (rows["penalty"] == penalty)]
    seeds = chosen[chosen["stage"] == "final"].groupby("seed")["large"].first()
    if len(seeds) < MIN_SEEDS:
        return ""
    interval = Sample(tuple(seeds.astype(float))).confidence()
    return f"{seeds.mean():,.0f} ± {interval.half_width:,.0f}" if interval else ""


def choices(rows: pd.DataFrame) -> pd.DataFrame:
    """A line for each method: what was tried, and what was chosen for each k."""
    lines = []
    for name, method in METHODS.items():
        what = "penalty" if len(method.penalties) > 1 else "rate"
        tried = rows.loc[(rows["method"] == name) & (rows["stage"] == "select"), what]
        line = {"method": name, "chosen": what, "tried": f"{tried.min():g} to {tried.max():g}"}
        for k in NUMBERS:
            found = finals(rows, name, k)
            line[f"k = {k:,}"] = "" if found.empty else f"{found[what].iloc[0]:g}"
        lines.append(line)
    return pd.DataFrame(lines)


def draw(rows: pd.DataFrame, folder: Path = RESULTS) -> Figure:
    """Accuracy over numbers: a line for each method, a point for each net of the post's tables."""
    figure = Figure(figsize=(10, 5.2))
    by_numbers, by_bytes = figure.subplots(1, 2, sharey=True)
    for index, (name, method) in enumerate(METHODS.items()):
        nets = rows[(rows["method"] == name) & (rows["stage"] == "final")]
        style = "--" if name in (NARROW, SMALL) else "-"
        for axes, size in ((by_numbers, int), (by_bytes, method.storage)):
            points = [
                (size(int(str(numbers))), *ends(Sample(tuple(scores))))
                for numbers, scores in nets.groupby("numbers")["accuracy"]
            ]
            if points:
                x, y, low, high = zip(*points, strict=True)
                axes.errorbar(
                    x, y, (low, high), fmt=style, marker="o", ms=3, lw=1.2, capsize=2,
                    color=f"C{index}", label=name,
                )  # fmt: skip
    for table_name, (mark, label) in OTHERS.items():
        other = pd.read_csv(folder / f"{table_name}.csv").dropna(subset="ours_mean")
        error = 100 - other["ours_mean"]
        by_numbers.plot(other["our count"], error, mark, color="0.6", ms=5, mfc="none", label=label)
    for axes, label in ((by_numbers, "stored numbers"), (by_bytes, "stored bytes")):
        axes.set_xscale("log")
        axes.set_xlabel(label)
    by_numbers.set_yscale("log")
    by_numbers.set_ylim(95, 0.4)
    by_numbers.yaxis.set_major_locator(FixedLocator([0.5, 1, 2, 3, 5, 10, 20, 50, 90]))
    by_numbers.yaxis.set_minor_locator(NullLocator())
    by_numbers.yaxis.set_major_formatter(FuncFormatter(lambda error, _: f"{100 - error:g}"))
    by_numbers.set_ylabel("test accuracy, %")
    by_numbers.legend(fontsize=7, loc="lower right")
    return figure


def ends(sample: Sample) -> tuple[float, float, float]:
    """Error, and how far its interval reaches below and above it, within 0 to 100."""
    error, interval = 100 - sample.mean, sample.confidence()
    half = interval.half_width if interval else 0.0
    return error, min(half, 0.9 * error), min(half, 100 - error)
