"""The page results/autoencoder.md, from the trainings of `autoencoder`."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from benchmarks import autoencoder_pictures
from benchmarks.measurements import Measurements
from subspace_bench.reporting.figures import PageFigure
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.statistics import Sample

NAME = "autoencoder"
NATIVE = 157_684
THEIRS = 200  # "roughly 200 parameters"
KINDS = {"error": "test digits", "rotated": "turned by 90°", "fashion": "Fashion-MNIST"}
UNIT = 1_000  # errors are shown in thousandths
NOT_AT_HAND = "files not at hand"


def page(measurements: Measurements) -> Page:
    """The page results/autoencoder.md."""
    rows, facts = measurements.numbers, measurements.facts
    final = rows[rows["stage"] == "final"]
    mean = UNIT * final.groupby("d")["error"].mean()
    grey, flat = (
        UNIT * facts["baselines"][name]["error"] for name in ("one grey value", "mean image")
    )
    enough = [int(str(d)) for d, error in mean.items() if error < flat]
    first = min(enough, default=NATIVE)
    summary = (
        f"Mean squared error of denoised digits, in thousandths: {mean.loc[NATIVE]:.1f} with all "
        f"{NATIVE:,} numbers; {mean.loc[THEIRS]:.1f} in a random subspace of {THEIRS}, where one "
        f"grey value gives {grey:.1f}; the mean image alone gives {flat:.1f}, which d = {first:,} "
        "is the first to beat"
    )
    pictures: dict[str, dict[str, str]] = facts["pictures"]
    figures = {
        NAME: PageFigure(
            functools.partial(draw, final, facts["baselines"]),
            "Mean squared error of test digits over d; bars: 95% intervals; crosses: PCA",
        ),
        f"{NAME}-digits": PageFigure(
            functools.partial(autoencoder_pictures.draw, labelled(pictures["images"])),
            "Test digits, with noise, and denoised by the net with d trained numbers",
        ),
        f"{NAME}-filters": PageFigure(
            functools.partial(autoencoder_pictures.draw, labelled(pictures["filters"])),
            "Weights of the first ten hidden units after training with d numbers; grey is 0, and "
            "each picture is scaled to its largest weight",
        ),
    }
    tables = {
        "errors": pd.DataFrame([*_lines(final), *_baselines(facts["baselines"])]),
        "rates": pd.DataFrame(_rates(rows)),
    }
    values = {"facts": facts, "native": NATIVE, "theirs": THEIRS, "seeds": final["seed"].nunique()}
    return Page(
        NAME,
        "A denoising autoencoder in d numbers",
        summary,
        tables,
        measurements.text,
        values,
        figures=figures,
        command="python -m benchmarks.autoencoder --rebuild",
    )


def name(d: int) -> str:
    """How a number of trained numbers is shown."""
    return f"{d:,}" + (" (no subspace)" if d == NATIVE else "")


def labelled(pictures: dict[str, str]) -> dict[str, str]:
    """Rows under their shown names: those without a number first, then by d."""
    order = sorted(pictures, key=lambda row: int(row) if row.isdigit() else 0)
    return {f"d = {int(row):,}" if row.isdigit() else row: pictures[row] for row in order}


def _lines(final: pd.DataFrame) -> Iterator[dict[str, str]]:
    full = final.loc[final["d"] == NATIVE, "error"].mean()
    for d, group in final.groupby("d", sort=True):
        number = int(str(d))
        yield {
            "trained numbers": name(number),
            "model": "autoencoder" + (f" (the paper has roughly {THEIRS})" * (number == THEIRS)),
            **{title: _shown(group[kind]) for kind, title in KINDS.items()},
            "error ÷ that of all parameters": f"{group['error'].mean() / full:.2f}",
            "seconds": f"{group['seconds'].median():.0f}",
        }


def _shown(errors: pd.Series[Any]) -> str:
    """Mean and interval in thousandths."""
    if errors.isna().any():
        return NOT_AT_HAND
    return Sample(tuple(UNIT * errors.astype(float))).show()


def _baselines(found: dict[str, dict[str, float]]) -> Iterator[dict[str, str]]:
    for title, errors in found.items():
        yield {
            "trained numbers": f"{errors['numbers']:,.0f}",
            "model": title,
            **{
                shown: f"{UNIT * errors[kind]:.2f}" if kind in errors else NOT_AT_HAND
                for kind, shown in KINDS.items()
            },
            "error ÷ that of all parameters": "",
            "seconds": "",
        }


def _rates(rows: pd.DataFrame) -> Iterator[dict[str, str]]:
    used = rows[rows["stage"] == "final"].groupby("d")["rate"].first()
    for d, group in rows[rows["stage"] == "select"].groupby("d", sort=True):
        tried = group.groupby("rate")["error"].mean()  # sorted by rate
        yield {
            "d": name(int(str(d))),
            "peak rate used": f"{used.loc[d]:g}",
            "held-out error at each rate": _errors(tried),
        }


def _errors(tried: pd.Series[float]) -> str:
    """Held-out errors by rate; one number if all are alike."""
    shown = {f"{rate:g}": f"{UNIT * error:.2f}" for rate, error in tried.items()}
    if len(set(shown.values())) == 1:
        first, *_, last = shown
        return f"{first} to {last}: {shown[first]}"
    return ", ".join(f"{rate}: {error}" for rate, error in shown.items())


def draw(final: pd.DataFrame, baselines: dict[str, dict[str, float]]) -> Figure:
    """Test error over d, beside PCA and the mean image of as many numbers."""
    figure = Figure(figsize=(6.4, 4))
    axes = figure.subplots()
    samples = {int(str(d)): Sample(tuple(UNIT * group["error"])) for d, group in final.groupby("d")}
    whole = {d: sample for d, sample in samples.items() if d == NATIVE}
    parts = {d: sample for d, sample in samples.items() if d != NATIVE}
    for group, style, label in (
        (parts, "o-", "autoencoder in a subspace"),
        (whole, "s", "autoencoder, all parameters"),
    ):
        intervals = [sample.confidence() for sample in group.values()]
        axes.errorbar(
            list(group),
            [sample.mean for sample in group.values()],
            yerr=[interval.half_width if interval else 0.0 for interval in intervals],
            fmt=style, ms=4, capsize=2, color="C0", label=label,
        )  # fmt: skip
    linear = {e["numbers"]: UNIT * e["error"] for title, e in baselines.items() if "PCA" in title}
    axes.plot(list(linear), list(linear.values()), "x--", color="C1", label="PCA")
    flat = baselines["mean image"]
    axes.axhline(UNIT * flat["error"], color="0.5", ls=":", label="mean image")
    axes.axvline(THEIRS, color="0.7", lw=1)
    axes.annotate("the paper's 200", (THEIRS, axes.get_ylim()[0]), fontsize=8, rotation=90,
                  textcoords="offset points", xytext=(-10, 4))  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel("trained numbers")
    axes.set_ylabel("mean squared error, thousandths")
    axes.legend()
    return figure
