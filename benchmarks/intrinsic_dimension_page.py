"""The page results/intrinsic-dimension.md, from the trainings that `intrinsic_dimension` ran."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.measurements import Measurements
from subspace_bench.dimension.plan import BASELINES, Plan
from subspace_bench.dimension.result import IntrinsicDimension
from subspace_bench.dimension.search import FEWEST, Search
from subspace_bench.experiments import published
from subspace_bench.reporting.figures import PageFigure
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.statistics import Sample, difference

NAME = "intrinsic-dimension"
COLUMNS = [
    "purpose", "dataset", "net", "projector", "shuffled", "epochs", "model", "d", "seed",
    "accuracy", "native", "seconds",
]  # fmt: skip
MNIST = "mnist"
SEARCH, LENGTH = "search", "length"  # purposes: to find d_int; to compare protocols at one d
KEY = ["dataset", "net", "projector", "shuffled"]
DRAWN = {"fc": "FC, 784-200-200-10", "lenet": "LeNet"}


@dataclass(frozen=True)
class Found:
    """What the trainings of one case say.

    Attributes:
        at: d_int by the global target (90% accuracy).
        relative: d_int by the local target (90% of the net's own accuracy), from the same
            trainings.
    """

    dataset: str
    net: str
    projector: str
    shuffled: bool
    at: IntrinsicDimension
    relative: IntrinsicDimension


def page(measurements: Measurements) -> Page:
    """The page results/intrinsic-dimension.md."""
    rows, facts = measurements.numbers, measurements.facts
    searched = rows[rows["purpose"] == SEARCH]
    plans = Plan(threshold=facts["threshold"]), Plan()
    found = [
        Found(*identify(case), *(evaluate(case, plan, identify(case)[1]) for plan in plans))
        for _, case in searched.groupby(KEY, sort=False)
        if enough(case)
    ]
    first = {f.net: f for f in reversed(found) if f.dataset == MNIST and not f.shuffled}
    summary = "; ".join(
        f"{net}: d_int90 is {f.at.dimension:,} [{f.at.estimate.format_interval('to')}], "
        f"published {published.load('li2018')['dimensions'][net]['global']:,}"
        for net, f in reversed(first.items())
    )
    figures = {
        f"{NAME}-{net}": PageFigure(
            functools.partial(draw, first[net].at, net),
            f"{title}: accuracy over d, our trainings and their fit; Li et al.'s means",
        )
        for net, title in DRAWN.items()
        if net in first
    }
    return Page(
        NAME,
        "Intrinsic dimensions on MNIST, as Li et al. define them",
        summary,
        {"nets": pd.DataFrame(map(row, found)), "lengths": lengths(rows)},
        measurements.text,
        {"facts": facts},
        figures=figures,
        command="python -m benchmarks.intrinsic_dimension --rebuild",
    )


def enough(case: pd.DataFrame) -> bool:
    """Whether a case has trainings for an estimate."""
    counts = case["model"].value_counts()
    return counts.get("plain", 0) >= BASELINES and counts.get("subspace", 0) >= FEWEST


def identify(case: pd.DataFrame) -> tuple[str, str, str, bool]:
    """Dataset, net, projector, and whether pixels are shuffled."""
    dataset, net, projector, shuffled = case.iloc[0][KEY]
    return str(dataset), str(net), str(projector), bool(shuffled)


def evaluate(case: pd.DataFrame, plan: Plan, name: str) -> IntrinsicDimension:
    """d_int from all trainings of a net."""
    baseline = case.loc[case["model"] == "plain", "accuracy"].tolist()
    tried = case[case["model"] == "subspace"]
    native = int(case["native"].iloc[0])
    target = plan.target(baseline)
    search = Search(native, target, tried["d"].tolist(), tried["accuracy"].tolist())
    estimate = search.estimate()
    assert estimate is not None
    curve = tried[["d", "seed", "accuracy", "seconds"]].rename(columns={"accuracy": "score"})
    return IntrinsicDimension(
        name, native, plan.projector, target.score, plan.describe_target(), True,
        tuple(baseline), curve, estimate,
    )  # fmt: skip


def row(found: Found) -> dict[str, str]:
    """A line of the table."""
    known = published.load("li2018")["shuffled" if found.shuffled else "dimensions"]
    theirs = known.get(found.net, {}) if found.dataset == MNIST else {}
    # These nets hardly reach 90% on Fashion-MNIST: there the search was for the local target.
    at = found.at if found.dataset == MNIST else found.relative
    return {
        "net": found.net,
        "data": found.dataset + (", shuffled" if found.shuffled else ""),
        "D": f"{found.at.native:,}",
        "projector": found.projector,
        "accuracy at D, %": f"{np.mean(found.at.baseline):.2f}",
        "d_int90, published": f"{theirs['global']:,}" if theirs.get("global") else "",
        "d_int90": describe(found.at) if found.dataset == MNIST else "",
        "local, published": f"{theirs['local']:,}" if theirs.get("local") else "",
        "local": describe(found.relative),
        "D / d_int": "" if at.bloat is None else f"{at.bloat:,.0f}",
        "trainings": str(len(found.at.curve)),
    }


def describe(result: IntrinsicDimension) -> str:
    """d_int with its interval, which ends where the trainings do: below, the fit is a guess."""
    smallest = int(result.curve["d"].min())
    if result.dimension is not None and result.dimension < smallest:
        return f"below {smallest:,}"
    middle = "> D" if result.dimension is None else f"{result.dimension:,}"
    interval = result.estimate.format_interval("to")
    if result.estimate.low < smallest:
        interval = f"below {smallest:,} to {interval.partition(' to ')[2]}"
    return f"{middle} [{interval}]"


def lengths(rows: pd.DataFrame) -> pd.DataFrame:
    """Accuracies of the long and the short protocol at one d of each net."""
    lines = []
    for (net, dim), group in rows[rows["purpose"] == LENGTH].groupby(["net", "d"], sort=False):
        samples = {
            int(epochs): Sample(tuple(group.loc[group["epochs"] == epochs, "accuracy"]))
            for epochs in group["epochs"].unique()
        }
        if len(samples) < 2:
            continue
        short, long = samples[min(samples)], samples[max(samples)]
        gap = difference(short, long)
        line = {"net": net, "d": f"{dim:,}"}
        line |= {f"{epochs} epochs": sample.show() for epochs, sample in samples.items()}
        line["difference"] = f"{short.mean - long.mean:+.2f}"
        line["95% interval"] = f"{gap.low:+.2f} to {gap.high:+.2f}" if gap else ""
        lines.append(line)
    return pd.DataFrame(lines)


def draw(result: IntrinsicDimension, net: str) -> Figure:
    """Our trainings and the published means of one net."""
    figure = Figure(figsize=(6.4, 4))
    axes = result.plot(figure.subplots())
    theirs = pd.DataFrame(published.load("li2018")[net])
    theirs = theirs[theirs["d"] >= axes.get_xlim()[0]]
    axes.plot(theirs["d"], theirs["accuracy"], "x", color="k", ms=5, label="Li et al. 2018")
    axes.set_ylabel("test accuracy, %")
    axes.set_title(DRAWN[net])
    axes.legend(loc="lower right", fontsize=8)
    return figure
