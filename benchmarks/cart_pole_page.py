"""The page results/cart-pole.md, from the policies that `cart_pole` trained."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from benchmarks.measurements import Measurements
from subspace_bench.experiments import published
from subspace_bench.reporting.figures import PageFigure
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.statistics import Interval, binomial

NAME = "cart-pole"
SHARES = {"half of the seeds": 0.5, "9 in 10": 0.9}
CLAIM = 100  # times easier than MNIST
DRAWS = 2_000  # of the bootstrap
THEIRS = {"DQN": 25, "evolution strategies": 4}  # Li et al.'s plots


@dataclass(frozen=True)
class Crossing:
    """The d at which a share of the seeds solves it.

    Attributes:
        dim: None if no d does.
        interval: 95%, from a bootstrap over seeds; infinite where no d would do.
        largest: the largest d that was tried.
    """

    dim: float | None
    interval: Interval
    largest: int

    def show(self, ratio_to: float = 0.0) -> str:
        """d with its interval; or how many times fewer it is than `ratio_to`."""

        def text(value: float) -> str:
            if not np.isfinite(value):
                return f"< {ratio_to / self.largest:.0f}" if ratio_to else f"> {self.largest}"
            return f"{ratio_to / value:.0f}" if ratio_to else f"{value:.1f}"

        ends = self.interval.low, self.interval.high
        low, high = map(text, reversed(ends) if ratio_to else ends)
        middle = text(np.inf if self.dim is None else self.dim)
        return middle if low == high == middle else f"{middle} [{low}, {high}]"


def cross(solved: pd.DataFrame, share: float) -> Crossing:
    """Where the monotone fit of the solved share over log d reaches `share`.

    Arguments:
        solved: a row per seed, a column per d, in increasing order: 0 or 1.
    """
    dims, values = solved.columns.to_numpy(float), solved.to_numpy(float)
    found = _crossing(dims, values.mean(0), share)
    generator = np.random.default_rng(0)
    picks = generator.integers(len(values), size=(DRAWS, len(values)))
    ends = np.quantile(
        [_crossing(dims, values[pick].mean(0), share) for pick in picks],
        (0.025, 0.975),
        method="inverted_cdf",  # no mean of a number and infinity
    )
    return Crossing(
        found if np.isfinite(found) else None, Interval(*map(float, ends)), int(dims[-1])
    )


def _crossing(dims: NDArray[np.float64], rates: NDArray[np.float64], share: float) -> float:
    fit = isotonic_regression(rates).x
    above = int(np.argmax(fit >= share))
    if fit[above] < share:
        return float("inf")
    if above == 0:
        return float(dims[0])
    part = (share - fit[above - 1]) / (fit[above] - fit[above - 1])
    return float(np.exp(np.interp(part, (0, 1), np.log(dims[above - 1 : above + 1]))))


def page(measurements: Measurements) -> Page:
    """The page results/cart-pole.md."""
    rows = measurements.numbers
    final = rows[rows["stage"] == "final"].copy()
    final["solved"] = final["episodes"].notna().astype(float)
    crossings = {
        (str(method), label): cross(_table(group), share)
        for method, group in final[final["model"] == "subspace"].groupby("method", sort=False)
        for label, share in SHARES.items()
    }
    mnist = published.load("li2018")["dimensions"]["fc"]["global"]
    summary = "; ".join(
        f"{method}: half of the seeds solve it at d = {crossing.show()}, "
        f"{crossing.show(mnist)} times fewer than the {mnist} of MNIST"
        for (method, label), crossing in crossings.items()
        if SHARES[label] == 0.5
    )
    tables = {
        "verdicts": pd.DataFrame(_verdicts(crossings, mnist)),
        "solved": pd.DataFrame(_lines(final)),
        "settings": pd.DataFrame(_settings(rows)),
    }
    figure = PageFigure(
        functools.partial(_draw, final, crossings), "Share of seeds that solve cart-pole, over d"
    )
    return Page(
        NAME,
        "How many numbers does cart-pole need?",
        summary,
        tables,
        measurements.text,
        {"facts": measurements.facts, "mnist": mnist, "claim": CLAIM},
        figures={NAME: figure},
        command="python -m benchmarks.cart_pole --rebuild",
    )


def _table(group: pd.DataFrame) -> pd.DataFrame:
    return group.pivot_table(index="seed", columns="d", values="solved")


def _verdicts(crossings: dict[tuple[str, str], Crossing], mnist: int) -> Iterator[dict[str, str]]:
    for (method, label), crossing in crossings.items():
        low, high = mnist / crossing.interval.high, mnist / crossing.interval.low
        inside = "reproduces" if low <= CLAIM <= high else "does not reproduce"
        yield {
            "method": method,
            "solved by": label,
            "d_int, published": str(THEIRS[method]),
            "d_int": crossing.show(),
            f"{mnist} / d_int": crossing.show(mnist),
            f"{CLAIM} times": inside if low <= CLAIM else f"{inside}: more than {CLAIM}",
        }


def _lines(final: pd.DataFrame) -> Iterator[dict[str, str]]:
    for (method, dim), group in final.groupby(["method", "d"], sort=True):
        rate = binomial(int(group["solved"].sum()), len(group))
        plain = group["model"].iloc[0] == "plain"
        episodes = group["episodes"].median()
        yield {
            "method": str(method),
            "d": f"{dim:,}" + (" (no subspace)" if plain else ""),
            "solved": f"{int(group['solved'].sum())} of {len(group)}",
            "95% interval": f"{100 * rate.low:.0f} to {100 * rate.high:.0f}%",
            "mean best reward": f"{group['score'].mean():.1f}",
            "median episodes to solve": "" if np.isnan(episodes) else f"{episodes:,.0f}",
        }


def _settings(rows: pd.DataFrame) -> Iterator[dict[str, str]]:
    used = rows[rows["stage"] == "final"].groupby(["method", "model"])[["sigma", "rate"]].first()
    tried = rows[rows["stage"] == "select"]
    for _, group in tried.groupby(["method", "model", "sigma", "rate"], sort=False):
        method, model, sigma, rate = group.iloc[0][["method", "model", "sigma", "rate"]]
        yield {
            "method": str(method),
            "net": "no subspace" if model == "plain" else str(model),
            "noise": f"{sigma:g}" if sigma else "",
            "rate": f"{rate:g}",
            "mean best reward": f"{group['score'].mean():.1f}",
            "used": "yes"
            if list(used.loc[(str(method), str(model)), ["sigma", "rate"]]) == [sigma, rate]
            else "",
        }


def _draw(final: pd.DataFrame, crossings: dict[tuple[str, str], Crossing]) -> Figure:
    figure = Figure(figsize=(6.4, 4))
    axes = figure.subplots()
    for number, (method, group) in enumerate(
        final[final["model"] == "subspace"].groupby("method", sort=False)
    ):
        share = group.groupby("d")["solved"].mean()
        axes.semilogx(share.index, 100 * share, "o-", ms=4, color=f"C{number}", label=str(method))
        half = crossings[str(method), next(iter(SHARES))]
        if half.dim is not None:
            axes.axvline(half.dim, color=f"C{number}", ls=":", lw=1)
    ticks = sorted(final.loc[final["model"] == "subspace", "d"].unique())
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("d, numbers trained")
    axes.set_ylabel("seeds that solve it, %")
    axes.legend()
    return figure
