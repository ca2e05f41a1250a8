"""The page results/leaderboard.md, from the trainings of `leaderboard`."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.leaderboard_entries import ANY, POST, Entry
from benchmarks.measurements import Measurements
from subspace_bench.experiments import front_page, published
from subspace_bench.experiments.best_entries import NETS
from subspace_bench.experiments.study import Evidence, Plan
from subspace_bench.records.committed import committed_store
from subspace_bench.regression.rank_test import p_value
from subspace_bench.reporting.figures import PageFigure
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.statistics import MIN_SEEDS, Sample

NAME = "leaderboard"
CLASSES = {POST: (POST,), ANY: (POST, ANY)}  # "any net" may be the post's
CAPTION = (
    "Test accuracy over trained numbers, MNIST (axis: logarithm of the error). "
    "Grey: as in the post, filled: trained here, hollow: as published; coloured: entries, with "
    "their own recipes and 95% intervals"
)
SHOWN = (10, 50, 80, 90, 95, 98, 99, 99.5)  # ticks of the figure, in %
SERIES = {  # of `front_page.answer` → style, name
    "conv net, 100 epochs": ("s--", "subspaces of the post's net, 100 epochs"),
    "conv net, 10 epochs": ("s:", "subspaces of the post's net, 10 epochs"),
    "MNIST-lite nets, 10 epochs": ("^", "the post's MNIST-lite nets"),
    "tutorials' nets": ("D", "the tutorials' nets"),
}
BEATEN = 0.01  # two-sided p of the rank test, over at least MIN_SEEDS seeds of each


@dataclass(frozen=True)
class Row:
    """An entry at one d: what is measured, or only claimed.

    Attributes:
        numbers, stored_bytes: the most that a seed needed; 0 where nothing was run.
        accuracies: one for each seed.
        seconds: median of a training, by the clock.
    """

    entry: Entry
    dim: int
    numbers: int
    stored_bytes: int
    accuracies: Sample
    seconds: float

    @property
    def status(self) -> str:
        if self.accuracies.n >= MIN_SEEDS:
            return "verified"
        return "re-run here" if self.accuracies.n else "claimed"

    @property
    def mean(self) -> float:
        """Of the trainings here, or as claimed."""
        return self.accuracies.mean if self.accuracies.n else self.claimed

    @property
    def claimed(self) -> float:
        return self.entry.header["claimed"][str(self.dim)]

    def p_better(self, other: Row | None) -> float:
        """The rank test's p against another row; NaN with too few seeds."""
        if other is None or min(self.accuracies.n, other.accuracies.n) < MIN_SEEDS:
            return math.nan
        return p_value(other.accuracies.values, self.accuracies.values)


def collect(rows: pd.DataFrame, entries: Sequence[Entry]) -> list[Row]:
    """A row for each entry and d; trainings of earlier code are left out."""
    found = []
    for entry in entries:
        own = rows[(rows["entry"] == entry.name) & (rows["digest"].astype(str) == entry.digest)]
        for dim in entry.dims:
            seeds = own[own["d"] == dim]
            numbers, size = (0, 0) if seeds.empty else seeds[["numbers", "stored_bytes"]].max()
            accuracies = Sample(tuple(seeds["accuracy"]))
            seconds = float(seeds["seconds"].median())
            found.append(Row(entry, dim, int(numbers), int(size), accuracies, seconds))
    return found


def ranked(rows: Sequence[Row], dataset: str, *nets: str) -> dict[int, list[Row]]:
    """d → its rows of these nets, the best verified mean first, then the others."""
    chosen = [
        row
        for row in rows
        if row.entry.header["dataset"] == dataset and row.entry.header["net"] in nets
    ]
    return {
        dim: sorted(
            (row for row in chosen if row.dim == dim),
            key=lambda row: (row.status != "verified", -row.mean),
        )
        for dim in sorted({row.dim for row in chosen})
    }


def page(measurements: Measurements, entries: Sequence[Entry]) -> Page:
    """The page results/leaderboard.md."""
    found = collect(measurements.numbers, entries)
    rows = [row for row in found if row.mean]  # run here, or claimed
    absent = [f"{row.entry.name} at {row.dim:,}" for row in found if not row.mean]
    datasets = sorted({entry.header["dataset"] for entry in entries}, reverse=True)
    boards = {
        (dataset, net): board
        for dataset in datasets
        for net in NETS
        if (board := ranked(rows, dataset, net))
    }
    best = {
        (dataset, net): [group[0] for group in ranked(rows, dataset, *CLASSES[net]).values()]
        for dataset, net in boards
    }
    tables = {
        "best": pd.DataFrame(_best(best)),
        **{" ".join(key): _board(board) for key, board in boards.items()},
        "public": pd.DataFrame(_public()),
        "bytes": pd.DataFrame(_by_bytes([row for rows in best.values() for row in rows])),
    }  # fmt: skip
    summary = "; ".join(
        f"{row.dim:,} numbers reach {row.mean:.1f}% with {NETS[net]}"
        for (dataset, net), leaders in best.items()
        for row in leaders
        if dataset == "mnist" and row.dim in (100, 1_000)
    )
    titles = {f"{dataset} {net}": f"{dataset}, {NETS[net]}" for dataset, net in boards}
    return Page(
        NAME,
        "How good can d numbers be?",
        summary,
        tables,
        measurements.text,
        {
            "titles": titles,
            "seeds": MIN_SEEDS,
            "beaten": BEATEN,
            "missed": _missed(best),
            "absent": ", ".join(absent),
        },
        figures={NAME: PageFigure(functools.partial(_draw, best), CAPTION)},
        command="python -m benchmarks.leaderboard --rebuild",
    )


def _best(best: dict[tuple[str, str], list[Row]]) -> Iterator[dict[str, str]]:
    targets = published.load(NAME)["targets"]
    for (dataset, net), leaders in best.items():
        for row in leaders:
            target = targets.get(dataset, {}).get(net, {}).get(str(row.dim))
            yield {
                "dataset": dataset,
                "net": NETS[net],
                "trained numbers": f"{row.dim:,}",
                "accuracy, %": _accuracy(row),
                "target": "" if target is None else f"{target:g}",
                "reached": "" if target is None else ("yes" if row.mean >= target else "no"),
                "entry": row.entry.name,
            }


def _missed(best: dict[tuple[str, str], list[Row]]) -> str:
    """Which targets were missed, and by how much."""
    targets = published.load(NAME)["targets"]
    gaps = [
        f"{row.dim:,} numbers by {gap:.2f} ({NETS[net]})"
        for (dataset, net), leaders in best.items()
        for row in leaders
        if (gap := targets.get(dataset, {}).get(net, {}).get(str(row.dim), 0.0) - row.mean) > 0
    ]
    return f"Missed, in points: {'; '.join(gaps)}." if gaps else "All targets are reached."


def _board(board: dict[int, list[Row]]) -> pd.DataFrame:
    """All rows; without a column of claims where nobody claims anything."""
    frame = pd.DataFrame(_lines(board))
    return frame if frame["claimed"].any() else frame.drop(columns="claimed")


def _lines(board: dict[int, list[Row]]) -> Iterator[dict[str, str]]:
    for dim, rows in board.items():
        for row, following in itertools.zip_longest(rows, rows[1:]):
            p = row.p_better(following)
            header = row.entry.header
            tried = header["seeds_tried"]
            yield {
                "d": f"{dim:,}",
                "entry": f"{header['title']} ({row.entry.name}, {header['author']})",
                "trained numbers": f"{row.numbers:,}" if row.numbers else "",
                "stored bytes": f"{row.stored_bytes:,}" if row.numbers else "",
                "accuracy, %": _accuracy(row),
                "claimed": f"{row.claimed:g}" if row.claimed else "",
                "status": row.status,
                "beats the entry below": _beats(p),
                "seconds to train": f"{row.seconds:,.0f}" if row.accuracies.n else "",
                "chosen": header["chosen"] + (f"; best of {tried:,} seeds" if tried > 1 else ""),
            }


def _beats(p: float) -> str:
    """Whether a row beats another, by its p against it."""
    if math.isnan(p):
        return ""
    return f"{'yes' if p < BEATEN else 'not yet'} (p = {p:.3f})"


def _accuracy(row: Row) -> str:
    return row.accuracies.show() if row.accuracies.n else f"{row.claimed:g}, claimed"


def _public() -> Iterator[dict[str, str]]:
    for known in published.load(NAME)["results"]:
        yield {
            "dataset": known["dataset"],
            "trained numbers": f"{known['numbers']:,}",
            "accuracy, %": f"{known['accuracy']:.2f}",
            "chosen": known["chosen"],
            "source": known["source"],
            "note": known["note"],
        }


def _by_bytes(leaders: Sequence[Row]) -> Iterator[dict[str, str]]:
    """Public results by stored bytes, and the best entry of no more bytes."""
    for known in published.load(NAME)["bytes"]:
        fitting = [
            row
            for row in leaders
            if row.entry.header["dataset"] == known["dataset"] and row.stored_bytes > 0
            if row.stored_bytes <= known["stored"]
        ]
        ours = max(fitting, key=lambda row: row.mean, default=None)
        yield {
            "dataset": known["dataset"],
            "stored bytes": f"{known['stored']:,}",
            "accuracy, %": f"{known['accuracy']:.2f}",
            "source": known["source"],
            "best entry of no more": _accuracy(ours) if ours else "",
            "its bytes": f"{ours.stored_bytes:,}" if ours else "",
        }


def _draw(best: dict[tuple[str, str], list[Row]]) -> Figure:
    """Accuracies on MNIST over trained numbers; the axis is that of the error's logarithm."""
    figure = Figure(figsize=(7.2, 5.4))
    axes = figure.subplots()
    _draw_reproduced(axes)
    known = [result for result in published.load(NAME)["results"] if result["dataset"] == "mnist"]
    axes.plot(
        [result["numbers"] for result in known],
        [100 - result["accuracy"] for result in known],
        "x", color="0.2", label="public: one run, or chosen on the test set",
    )  # fmt: skip
    for net, colour in zip(NETS, ("C0", "C3"), strict=True):
        leaders = best.get(("mnist", net), [])
        if not leaders:
            continue
        intervals = [row.accuracies.confidence() for row in leaders]
        axes.errorbar(
            [row.dim for row in leaders], [100 - row.mean for row in leaders],
            [interval.half_width if interval else 0.0 for interval in intervals],
            fmt="o-", ms=5, capsize=2, color=colour, label=f"best entries, {NETS[net]}",
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="trained numbers", ylabel="test accuracy, %")
    axes.invert_yaxis()
    axes.yaxis.set_major_locator(FixedLocator([100 - shown for shown in SHOWN]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda error, _: f"{100 - error:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="lower right")
    return figure


def _draw_reproduced(axes: Axes) -> None:
    """The post's nets and subspaces: as reproduced by the committed records, and as published."""
    rows = pd.DataFrame(front_page.answer(Evidence(Plan(), committed_store()), {}))
    for series, (style, label) in SERIES.items():
        drawn = rows[rows["series"] == series].sort_values("trained")
        ours, theirs = (drawn[drawn["source"] == source] for source in ("ours", "the post"))
        axes.plot(ours["trained"], 100 - ours["accuracy"], style, ms=4, color="0.55", label=label)
        axes.plot(
            theirs["trained"], 100 - theirs["accuracy"], style[0], ms=4, color="0.55", mfc="none"
        )
