"""Accuracy of the post's conv net under each projector, with one training recipe for all.

The peak learning rate of each projector at each d is the best of one grid on 10,000 held-out
training images. Final runs train on all 60,000 images and are scored on the test set.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from subspace_bench import projectors
from subspace_bench.experiments.study import Evidence, Plan, Study, make_page
from subspace_bench.records.config import RunConfig
from subspace_bench.reporting.figures import PageFigure
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.statistics import Sample, tukey_hsd
from subspace_bench.training import presets

TITLE = "Accuracy per projector: the conv net, one recipe, 10 epochs"
DIMS = (300, 1_000, 3_000)
RATES = (0.05, 0.1, 0.2, 0.4, 0.8)


@functools.cache
def picked_rates() -> dict[str, dict[str, float]]:
    """The learning rates picked on held-out images: projector → d → peak rate."""
    text = (resources.files(__package__) / "projector_rates.toml").read_text(encoding="utf-8")
    rates: dict[str, dict[str, float]] = tomllib.loads(text)
    return rates


def picked_rate(projector: str, dim: int) -> float | None:
    """The picked rate; None if no rate is picked."""
    return picked_rates().get(projector, {}).get(str(dim))


def final_run(projector: str, dim: int) -> RunConfig | None:
    """The final run, if a rate is picked for it."""
    lr = picked_rate(projector, dim)
    return None if lr is None else presets.recipe(projector, dim, lr)


def held_out_runs(projector: str, dim: int) -> dict[float, RunConfig]:
    """The held-out run of each rate of the grid."""
    return {lr: presets.recipe(projector, dim, lr, held_out=True) for lr in RATES}


def runs_of(projector: str, dim: int) -> list[RunConfig]:
    """The final run, if there is one, and the held-out runs that picked its rate."""
    final = final_run(projector, dim)
    return [*([final] if final else []), *held_out_runs(projector, dim).values()]


def pairs() -> list[tuple[str, int]]:
    """All pairs (projector, d)."""
    return [(name, dim) for name in projectors.names() for dim in DIMS]


def cases(plan: Plan) -> list[RunConfig]:
    """In the full profile: every rate on held-out images, then the picked one on all images."""
    if plan.profile != "full":
        return []
    held_out = [run for cell in pairs() for run in held_out_runs(*cell).values()]
    finals = [run for cell in pairs() if (run := final_run(*cell))]
    return [*replace(plan, seeds=1).expand(held_out), *plan.expand(finals)]


def accuracies(evidence: Evidence, local: bool = False) -> dict[tuple[str, int], Sample]:
    """(projector, d) → accuracies of the final runs; an empty sample if no rate is picked."""
    return {
        cell: evidence.sample(run, local) if (run := final_run(*cell)) else Sample(())
        for cell in pairs()
    }


def best_rate(evidence: Evidence, projector: str, dim: int) -> float | None:
    """The rate with the best held-out accuracy; None unless the whole grid is recorded."""
    scores = {}
    for lr, run in held_out_runs(projector, dim).items():
        if not evidence.committed(run):
            return None
        sample = evidence.sample(run)
        scores[lr] = sample.mean if sample.n else 0.0  # it diverged
    return max(scores, key=lambda lr: scores[lr])


def rate_cell(evidence: Evidence, projector: str, dim: int) -> str:
    """The picked rate; warns if another is better or it is at an edge of the grid."""
    lr, better = picked_rate(projector, dim), best_rate(evidence, projector, dim)
    if lr is None:
        return "not picked"
    text = f"{lr:g}"
    if better is not None and better != lr:
        text += f", but {better:g} is better held out"
    if lr in (min(RATES), max(RATES)):
        text += " (edge of the grid)"
    return text


def page(evidence: Evidence) -> Page:
    ours, local = accuracies(evidence), accuracies(evidence, local=True)
    order = sorted(ours, key=lambda cell: cell[1])
    numbers = pd.DataFrame(
        {
            "dim": dim,
            "projector": name,
            "rate": picked_rate(name, dim),
            "n": sample.n,
            "mean": round(sample.mean, 4),
            "sd": round(sample.sd, 4),
        }
        for (name, dim), sample in ours.items()
    )
    frame = pd.DataFrame(
        {
            "d": f"{dim:,}",
            "projector": name,
            "peak rate": rate_cell(evidence, name, dim),
            "ours": ours[name, dim].show(),
            "local": local[name, dim].show(),
        }
        for name, dim in order
    )
    if not any(sample.n for sample in local.values()):
        frame = frame.drop(columns="local")
    figure = PageFigure(
        lambda: by_projector(ours),
        "Test accuracy of each projector at each d: all seeds (dots) and their mean (bar)",
    )
    return make_page(
        STUDY,
        evidence,
        summary(ours),
        tables={"accuracies": frame, "differences": differences(ours)},
        data=numbers,
        values={"rates": RATES},
        figures={"projectors-accuracy": figure},
        records={
            "accuracies": [evidence.names(*runs_of(*cell)) for cell in order],
            "differences": [
                evidence.names(*(run for name in projectors.names() if (run := final_run(name, d))))
                for d in DIMS
            ],
        },
    )


def differences(samples: Mapping[tuple[str, int], Sample]) -> pd.DataFrame:
    """For each d, the pairs of projectors that Tukey's HSD tells apart, all pairs together."""
    rows = []
    for dim in DIMS:
        trained = at(samples, dim)
        pairs, least = tukey_hsd(trained)
        each = {low: [high for high, other in pairs if other == low] for _, low in pairs}
        text = "; ".join(
            f"`{low}` below {all_others(high, len(trained))}" for low, high in each.items()
        )
        rows.append({"d": f"{dim:,}", "significant differences": text or "none",
                     "least significant difference, points": f"{least:.2g}"})  # fmt: skip
    return pd.DataFrame(rows)


def at(samples: Mapping[tuple[str, int], Sample], dim: int) -> dict[str, Sample]:
    """The samples of one d that are not empty, by projector."""
    return {name: sample for (name, d), sample in samples.items() if d == dim and sample.n}


def all_others(names: Sequence[str], count: int) -> str:
    """Names of projectors, or that they are all but one of `count`."""
    return "all others" if len(names) == count - 1 else ", ".join(f"`{name}`" for name in names)


def summary(samples: Mapping[tuple[str, int], Sample]) -> str:
    """The range of accuracies at each d, and which projectors are significantly worse."""
    trained = {name for (name, _), sample in samples.items() if sample.n}
    parts = []
    for dim in DIMS:
        if means := [sample.mean for sample in at(samples, dim).values()]:
            parts.append(f"{min(means):.1f} to {max(means):.1f}% at d = {dim:,}")
    text = f"{len(trained)} projectors: " + (", ".join(parts) or "not run")
    worse = dict.fromkeys(low for dim in DIMS for _, low in tukey_hsd(at(samples, dim))[0])
    return text + (f"; significantly below another: {', '.join(worse)}" if worse else "")


def by_projector(accuracies: Mapping[tuple[str, int], Sample]) -> Figure:
    """A panel for each d, a row for each projector: all seeds as dots, their mean as a bar."""
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


STUDY = Study("projector-accuracy", TITLE, cases, page, order=60)
