"""What each projector reaches: the post's conv net in subspaces, one recipe for all.

The peak rate of each projector at each d is picked on held-out training images from one grid; the
runs that count then train on all 60,000 and are scored on the test set.
"""

from __future__ import annotations

import functools
import math
import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from subspace_bench import projectors
from subspace_bench.experiments.legacy_page import Page
from subspace_bench.experiments.study import Evidence, Plan, Study
from subspace_bench.records.config import RunConfig
from subspace_bench.reporting.statistics import Sample, tukey_hsd
from subspace_bench.training import presets

TITLE = "Accuracy per projector: the post's conv net, one recipe, 10 epochs"
DIMS = (300, 1_000, 3_000)
RATES = (0.05, 0.1, 0.2, 0.4, 0.8)


@functools.cache
def picked() -> dict[str, dict[str, float]]:
    """The rates that the held-out runs picked: projector → d → peak rate."""
    text = (resources.files(__package__) / "projector_rates.toml").read_text(encoding="utf-8")
    found: dict[str, dict[str, float]] = tomllib.loads(text)
    return found


def rate(projector: str, dim: int) -> float | None:
    """The picked rate; None where none is picked yet."""
    return picked().get(projector, {}).get(str(dim))


def final(projector: str, dim: int) -> RunConfig | None:
    """The run that counts; None where no rate is picked for it yet."""
    lr = rate(projector, dim)
    return None if lr is None else presets.recipe(projector, dim, lr)


def tried(projector: str, dim: int) -> dict[float, RunConfig]:
    """The held-out runs that pick the rate."""
    return {lr: presets.recipe(projector, dim, lr, held_out=True) for lr in RATES}


def cells() -> list[tuple[str, int]]:
    """All (projector, d)."""
    return [(name, dim) for name in projectors.names() for dim in DIMS]


def runs(plan: Plan) -> list[RunConfig]:
    """The full profile trains these: every rate held out, then the picked one on all images."""
    if plan.profile != "full":
        return []
    held = [cut for cell in cells() for run in tried(*cell).values() if (cut := plan.cut(run))]
    finals = [run for cell in cells() if (run := final(*cell))]
    return [*held, *plan.all_seeds(finals)]


def accuracies(evidence: Evidence, own: bool = False) -> dict[tuple[str, int], Sample]:
    """(projector, d) → accuracies of the runs that count; none where no rate is picked."""
    return {
        cell: evidence.sample(run, own) if (run := final(*cell)) else Sample(()) for cell in cells()
    }


def best(evidence: Evidence, projector: str, dim: int) -> float | None:
    """The rate that its held-out runs pick; None where not all were run."""
    scores = {}
    for lr, run in tried(projector, dim).items():
        if not evidence.reference(run):
            return None
        sample = evidence.sample(run, own=False)
        scores[lr] = sample.mean if sample.n else 0.0  # it diverged
    return max(scores, key=lambda lr: scores[lr])


def shown_rate(evidence: Evidence, projector: str, dim: int) -> str:
    """The picked rate, and what speaks against it: another is better, or none larger was tried."""
    lr, better = rate(projector, dim), best(evidence, projector, dim)
    if lr is None:
        return "not picked"
    said = f"{lr:g}"
    if better is not None and better != lr:
        said += f", but {better:g} is better held out"
    if lr in (min(RATES), max(RATES)):
        said += " (edge of the grid)"
    return said


def page(evidence: Evidence) -> Page:
    shown, numbers = [], []
    mine = accuracies(evidence, own=True)
    for (name, dim), sample in accuracies(evidence).items():
        own = mine[name, dim]
        shown.append({"d": f"{dim:,}", "projector": name,
                      "peak rate": shown_rate(evidence, name, dim),
                      "reference": sample.show(), "this machine": own.show()})  # fmt: skip
        numbers.append({"dim": dim, "projector": name, "rate": rate(name, dim), "n": sample.n,
                        "mean": round(sample.mean, 4), "sd": round(sample.sd, 4)})  # fmt: skip
    frame = pd.DataFrame(shown).sort_values("d", key=lambda d: d.str.replace(",", "").astype(int),
                                            kind="stable")  # fmt: skip
    if (frame["this machine"] == "not run").all():
        frame = frame.drop(columns="this machine")
    return Page(
        TITLE, [*OPENING, *comparison(accuracies(evidence))], frame, pd.DataFrame(numbers), [],
        summary(numbers),
        {"projectors-accuracy": lambda: by_projector(accuracies(evidence))},
    )  # fmt: skip


def comparison(found: Mapping[tuple[str, int], Sample]) -> list[str]:
    """Which projectors differ, at each d; nothing where none is run."""
    by_dim = {dim: {p: s for (p, d), s in found.items() if d == dim and s.n} for dim in DIMS}
    parts = [f"d = {dim:,}: {apart(samples)}" for dim, samples in by_dim.items() if samples]
    if not parts:
        return []
    return [f"All pairs of a d held against each other (Tukey's HSD, 95%): {'; '.join(parts)}."]


def apart(samples: Mapping[str, Sample]) -> str:
    """Which of these accuracies differ, all pairs considered, and how far apart they must be."""
    pairs, least = tukey_hsd(samples)
    if math.isnan(least):
        return "seeds too few to tell any apart"
    parts = []
    for lower in dict.fromkeys(low for _, low in pairs):
        above = [f"`{high}`" for high, low in pairs if low == lower]
        every = len(above) == len(samples) - 1
        parts.append(f"`{lower}` below {'all others' if every else ', '.join(above)}")
    seen = " and ".join(parts) + ", no other" if parts else "no"
    return f"{seen} difference seen (which takes means {least:.2g} points apart)"


def summary(numbers: list[dict[str, Any]]) -> str:
    """The line for the index."""
    run = [row for row in numbers if row["n"]]
    if not run:
        return "not run yet"
    parts = []
    for dim in DIMS:
        means = [row["mean"] for row in run if row["dim"] == dim]
        if means:
            parts.append(f"d = {dim:,}: {min(means):.1f} to {max(means):.1f}%")
    return f"{len({row['projector'] for row in run})} projectors; " + "; ".join(parts)


def by_projector(accuracies: Mapping[tuple[str, int], Sample]) -> Figure:
    """Accuracies of each projector: a panel for each d, a row for each projector, all seeds."""
    run = {cell: sample for cell, sample in accuracies.items() if sample.n}
    names, dims = list(dict.fromkeys(p for p, _ in run)), sorted({d for _, d in run})
    figure, panels = plt.subplots(
        1, max(1, len(dims)), figsize=(9, 1 + 0.25 * len(names)), sharey=True, squeeze=False
    )
    for axes, dim in zip(panels[0], dims, strict=False):
        for row, name in enumerate(names):
            sample = run.get((name, dim), Sample(()))
            axes.plot(sample.values, [row] * sample.n, "o", color="tab:blue", ms=4, alpha=0.6)
            axes.plot([sample.mean], [row], "|", color="black", ms=12, mew=1.5)
        axes.set_title(f"d = {dim:,}")
        axes.set_xlabel("test accuracy, %")
    panels[0][0].set_yticks(range(len(names)), names)
    panels[0][0].invert_yaxis()
    return figure


OPENING = [
    "θ = θ_init + Pω, P's rows scaled by √(D/d)/√fan-in, He-initialised θ_init, no dropout; Adam "
    "(0.9, 0.99) under a one-cycle schedule, batches of 256, 10 epochs of normalised MNIST. The "
    "peak rate of each row is the best of "
    + ", ".join(f"{lr:g}" for lr in RATES)
    + " on 10,000 training images held out, one seed; one at the edge of that grid is marked, for "
    "a better one may lie beyond. The runs that count train on all 60,000. "
    "Means over seeds in %, ± the half-width of the mean's 95% interval (n seeds). This is not the "
    "post's protocol, which leaves its plateau too late to tell projectors apart.",
]
STUDY = Study("projector-accuracy", TITLE, runs, page)
