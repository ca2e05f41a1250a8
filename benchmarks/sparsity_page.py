"""The page results/sparsity.md, from the trainings that `sparsity` ran."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

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
OTHERS = {"tutorials": "s", "mnist-lite": "^"}  # committed tables, and their marks in the figure


def page(measurements: Measurements) -> Page:
    """The page results/sparsity.md."""
    rows = measurements.numbers
    figure = PageFigure(
        functools.partial(draw, rows),
        "Test accuracy over stored numbers, with 95% intervals; all nets on MNIST "
        "(axis: logarithm of the error)",
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
        f"A penalty that costs at most {COST:g} point leaves at least {left[L2]:,} (L2) and "
        f"{left[L1]:,} (L1) of {NATIVE:,} weights above {threshold:g}. "
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
                **{f"largest {k:,}": f"{accuracies[k]:.2f}" for k in reversed(NUMBERS)},
            }
        )
    return pd.DataFrame(lines)


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
    figure = Figure(figsize=(7.2, 5.2))
    axes = figure.subplots()
    for index, name in enumerate(METHODS):
        nets = rows[(rows["method"] == name) & rows["size"].isin(NUMBERS)]
        nets = nets[nets["stage"] == "final"]
        points = []
        for numbers, scores in nets.groupby("numbers")["accuracy"]:
            sample = Sample(tuple(scores))
            interval = sample.confidence()
            points.append((numbers, 100 - sample.mean, interval.half_width if interval else 0))
        if points:
            x, y, half = zip(*points, strict=True)
            dashed = "--" if name in (NARROW, SMALL) else "-"
            axes.errorbar(
                x, y, half, fmt=dashed, marker="o", ms=3, lw=1.2, capsize=2, color=f"C{index}",
                label=name,
            )  # fmt: skip
    for table_name, mark in OTHERS.items():
        other = pd.read_csv(folder / f"{table_name}.csv").dropna(subset="ours_mean")
        error = 100 - other["ours_mean"]
        axes.plot(other["our count"], error, mark, color="0.35", ms=5, mfc="none", label=table_name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.invert_yaxis()
    axes.yaxis.set_major_locator(FixedLocator([0.5, 1, 2, 3, 5, 10, 20, 50, 90]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda error, _: f"{100 - error:g}"))
    axes.set_xlabel("stored numbers")
    axes.set_ylabel("test accuracy, %")
    axes.legend(fontsize=8, loc="lower right")
    return figure
