"""The page results/bases.md, from the trainings of `bases`."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmarks.measurements import Measurements
from subspace_bench.experiments import published
from subspace_bench.reporting.figures import PageFigure
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.statistics import Sample, difference

NAME = "bases"
DIM = 250
EPOCHS = {"fc": 10, "cnn": 4}
TITLES = {"fc": "FC 784-128-10", "cnn": "CNN"}
METHODS = {
    "fixed": "fixed basis",
    "redrawn": "basis redrawn at each step",
    "mean": "SGD with the mean of these steps",
    "sgd": "SGD",
}


def page(measurements: Measurements) -> Page:
    """The page results/bases.md."""
    rows = measurements.numbers
    final = rows[rows["stage"] == "final"]
    found = {
        (str(net), str(method)): group
        for (net, method), group in final.groupby(["net", "method"], sort=False)
    }
    parts = []
    for net in EPOCHS:
        fixed, redrawn = (sample(found[net, method]) for method in ("fixed", "redrawn"))
        gap = difference(redrawn, fixed)
        ends = f" [{gap.low:.1f}, {gap.high:.1f}]" if gap else ""
        described = describing(found[net, "redrawn"], "redrawn")
        parts.append(
            f"{TITLES[net]}: {redrawn.mean - fixed.mean:.1f}{ends} points more, but "
            f"{described:,} numbers to describe the net instead of {DIM}"
        )
    figure = PageFigure(
        functools.partial(draw, found),
        "Accuracy on held-out images after each epoch, mean of seeds; "
        "dotted: published, on test images after 160 epochs",
    )
    tables = {
        "accuracies": pd.DataFrame(_lines(found)),
        "numbers": pd.DataFrame(_numbers(found)),
        "rates": pd.DataFrame(_rates(rows)),
        "fashion": pd.DataFrame(_fashion()),
    }
    return Page(
        NAME,
        "A fixed basis or a new one at every step?",
        f"What a basis redrawn at each step gains over a fixed one, d = {DIM}. {'; '.join(parts)}",
        tables,
        measurements.text,
        {"facts": measurements.facts, "epochs": EPOCHS, "seeds": final["seed"].nunique()},
        figures={NAME: figure},
        command="python -m benchmarks.bases --rebuild",
    )


def sample(group: pd.DataFrame) -> Sample:
    return Sample(tuple(group["accuracy"].astype(float)))


def describing(group: pd.DataFrame, method: str) -> int:
    """The fewest numbers, besides seeds, from which the trained net can be made again.

    A fixed basis: ω. A redrawn one: d coefficients at each of T steps, or the net's D parameters.
    """
    native, steps = int(group["native"].iloc[0]), int(group["steps"].iloc[0])
    return {"fixed": DIM, "redrawn": min(native, DIM * steps)}.get(method, native)


def _lines(found: dict[tuple[str, str], pd.DataFrame]) -> Iterator[dict[str, str]]:
    theirs = published.load("gressmann2020")
    for net, method in _order(found):
        group = found[net, method]
        their = theirs[net].get(method)
        yield {
            "net": TITLES[net],
            "trained by": METHODS[method],
            "ours, %": sample(group).show(),
            "published, %": _published(their) if their else "",
            "seconds": f"{group['seconds'].median():.0f}",
        }


def _fashion() -> Iterator[dict[str, str]]:
    theirs = published.load("gressmann2020")
    for net, title in TITLES.items():
        row = theirs[f"fashion-{net}"]
        ways = "fixed", "redrawn", "sgd"
        yield {"net": title, **{METHODS[way]: _published(row[way]) for way in ways}}


def _published(row: dict[str, float]) -> str:
    return f"{row['accuracy']:g} ± {row['spread']:g}"


def _numbers(found: dict[tuple[str, str], pd.DataFrame]) -> Iterator[dict[str, str]]:
    for net, method in _order(found):
        group = found[net, method]
        native, steps = int(group["native"].iloc[0]), int(group["steps"].iloc[0])
        based = method in ("fixed", "redrawn")
        yield {
            "net": TITLES[net],
            "trained by": METHODS[method],
            "directions per step": f"{DIM if based else native:,}",
            "numbers computed in all steps": f"{DIM * steps:,}" if based else "",
            "numbers that describe the trained net": f"{describing(group, method):,}",
        }


def _rates(rows: pd.DataFrame) -> Iterator[dict[str, str]]:
    theirs = published.load("gressmann2020")
    used = rows[rows["stage"] == "final"].groupby(["net", "method"])["rate"].first()
    for (net, method), group in rows[rows["stage"] == "select"].groupby(
        ["net", "method"], sort=False
    ):
        tried = group.groupby("rate")["accuracy"].mean()  # sorted by rate
        yield {
            "net": TITLES[str(net)],
            "trained by": METHODS[str(method)],
            "rate used": f"{used.loc[(str(net), str(method))]:g}",
            "held-out accuracy at each rate, %": ", ".join(
                f"{rate:g}: {accuracy:.1f}" for rate, accuracy in tried.items()
            ),
            "published rate": f"{theirs[str(net)][str(method)]['rate'] or '':}",
        }


def _order(found: dict[tuple[str, str], pd.DataFrame]) -> Iterator[tuple[str, str]]:
    return ((net, method) for net in EPOCHS for method in METHODS if (net, method) in found)


def draw(found: dict[tuple[str, str], pd.DataFrame]) -> Figure:
    """Held-out accuracy over epochs, a panel per net; dotted: published test accuracies."""
    theirs = published.load("gressmann2020")
    figure = Figure(figsize=(8, 3.6))
    for axes, net in zip(figure.subplots(1, len(EPOCHS)), EPOCHS, strict=True):
        for number, (method, title) in enumerate(METHODS.items()):
            if (net, method) not in found:
                continue
            curves = [[float(v) for v in text.split()] for text in found[net, method]["curve"]]
            mean = np.mean(curves, axis=0)
            axes.plot(range(1, len(mean) + 1), mean, "o-", ms=3, color=f"C{number}", label=title)
            if method in theirs[net]:
                axes.axhline(theirs[net][method]["accuracy"], color=f"C{number}", ls=":", lw=1)
        axes.set_title(TITLES[net])
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.axes[0].set_ylabel("accuracy, %")
    figure.axes[0].legend(fontsize=8)
    return figure
