"""How good is the search of `subspace-bench dimension`? Writes results/dimension-search.md.

    python -m benchmarks.dimension_search [--searches 34] [--jobs 2] [--rebuild]

A simulated training at d scores f(d) + noise, where f interpolates a measured curve in log d. Each
search has 3 trainings of the baseline and 20 that it chooses, as the command does. A grid of the
same number of trainings stands beside it. Five minutes of one core with OMP_NUM_THREADS=1; more
threads are slower.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

from benchmarks import measurements
from benchmarks.measurements import Measurements
from subspace_bench.common import rng
from subspace_bench.dimension.plan import BASELINES, Plan
from subspace_bench.dimension.search import Estimate, Search
from subspace_bench.experiments import published
from subspace_bench.experiments.study import Evidence
from subspace_bench.experiments.study import Plan as StudyPlan
from subspace_bench.records.committed import committed_store
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.render import write_page
from subspace_bench.reporting.statistics import binomial
from subspace_bench.training import presets

NOISES = (0.3, 0.6, 1.0)  # points, standard deviation between trainings of one d
CHANCE = 10.0  # accuracy at d = 1, below the smallest d of the published curves
PLAN = Plan()
TARGETS = {"90% of the baseline": Plan(), "90%": Plan(threshold=90.0)}


@dataclass(frozen=True)
class Curve:
    """Accuracy in % over d; the last d is D."""

    name: str
    d: tuple[int, ...]
    accuracy: tuple[float, ...]

    @property
    def native(self) -> int:
        return self.d[-1]

    def function(self) -> PchipInterpolator:
        """Accuracy over x = log d, monotone between the points."""
        return _interpolate(self.d, self.accuracy)


@functools.cache
def _interpolate(d: tuple[int, ...], accuracy: tuple[float, ...]) -> PchipInterpolator:
    return PchipInterpolator(np.log([1, *d]), np.maximum.accumulate([CHANCE, *accuracy]))


@dataclass(frozen=True)
class Simulation:
    """Simulated trainings of one curve at one noise, and the target that the search is given."""

    curve: Curve
    target: str
    noise: float

    @property
    def plan(self) -> Plan:
        return TARGETS[self.target]

    def truth(self) -> float:
        """log d at which the noise-free curve reaches the target."""
        f = self.curve.function()
        target = self.plan.target([self.curve.accuracy[-1]]).score
        return float(brentq(lambda x: float(f(x)) - target, 0.0, math.log(self.curve.native)))

    def least_error(self) -> float:
        """The least standard error of log d that any unbiased search can have.

        It knows the slope of f and trains at the crossing only, and the baseline as often as is
        best: (1 + share) σ / √n / slope for n trainings in all.
        """
        slope = float(self.curve.function().derivative()(self.truth()))
        if self.plan.threshold is not None:
            return self.noise / math.sqrt(self.plan.trainings) / slope
        count = self.plan.trainings + BASELINES
        return (1 + self.plan.fraction) * self.noise / math.sqrt(count) / slope

    def train(self, d: int, random: np.random.Generator) -> float:
        return float(self.curve.function()(math.log(d))) + self.noise * random.standard_normal()

    def train_baseline(self, random: np.random.Generator) -> float:
        return self.train(self.curve.native, random)

    def search(self, random: np.random.Generator) -> Estimate:
        """The estimate of one search."""
        baseline = [self.train_baseline(random) for _ in range(BASELINES)]
        search = Search(self.curve.native, self.plan.target(baseline))
        for _ in range(self.plan.trainings):
            d = search.ask()
            if d is None:
                baseline.append(self.train_baseline(random))
                search.target = self.plan.target(baseline)
            else:
                search.tell(d, self.train(d, random))
        estimate = search.estimate()
        assert estimate is not None
        return estimate

    def grid(self, random: np.random.Generator) -> int:
        """The smallest d of a grid that reaches the target: the search by hand."""
        target = self.plan.target([self.train_baseline(random) for _ in range(BASELINES)])
        grid = np.geomspace(10, self.curve.native, self.plan.trainings).round().astype(int)
        reached = [d for d in grid.tolist() if self.train(d, random) >= target.score]
        return min(reached, default=self.curve.native)


def curves() -> list[Curve]:
    """Li et al.'s curves, and our mean curves of ten epochs of the post's training."""
    content = published.load("li2018")
    found = [
        Curve(f"Li et al., {name}", tuple(points["d"]), tuple(points["accuracy"]))
        for name, points in content.items()
        if "accuracy" in points  # other tables have single numbers
    ]
    evidence = Evidence(StudyPlan(), committed_store())
    for model in ("conv", "fc"):
        dims: list[int | None] = [*presets.SMALL, None]
        means = [evidence.sample(presets.post(model, d, 10)).mean for d in dims]
        sizes = tuple(d or presets.native(model) for d in dims)
        found.append(Curve(f"the post's, {model}", sizes, tuple(means)))
    return found


def simulations() -> Iterator[Simulation]:
    for curve in curves():
        for target in TARGETS:
            for noise in NOISES:
                yield Simulation(curve, target, noise)


def simulate(simulation: Simulation, searches: int) -> dict[str, Any]:
    """A row of the csv: errors are of log d, about relative errors of d."""
    truth = simulation.truth()
    errors, grid_errors, widths, covered, open_ended = [], [], [], 0, 0
    for index in range(searches):
        random = rng.generator(index, f"{simulation}")
        estimate = simulation.search(random)
        errors.append(math.log(estimate.dimension or simulation.curve.native) - truth)
        high = estimate.high or simulation.curve.native
        covered += estimate.low <= math.ceil(math.exp(truth)) <= high
        open_ended += estimate.high is None
        widths.append(estimate.interval_ratio)
        grid_errors.append(math.log(simulation.grid(random)) - truth)
    return {
        "curve": simulation.curve.name,
        "target": simulation.target,
        "noise": simulation.noise,
        "d_int": round(math.exp(truth)),
        "searches": searches,
        "rmse": _rms(errors),
        "least": simulation.least_error(),
        "bias": float(np.mean(errors)),
        "covered": covered,
        "open": open_ended,
        "width": float(np.median(widths)),
        "grid_rmse": _rms(grid_errors),
    }


def _rms(errors: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(errors))))


def page(stored: Measurements) -> Page:
    """The page results/dimension-search.md."""
    numbers = stored.numbers
    by_noise = numbers.groupby("noise")
    table = pd.DataFrame(
        {
            "noise, points": [f"{noise:g}" for noise in by_noise.groups],
            "searches": [f"{n:,}" for n in by_noise["searches"].sum()],
            "rmse of d_int": [_percent(r) for r in _pooled(numbers, "rmse")],
            "least possible": [_percent(r) for r in _pooled(numbers, "least")],
            "95% interval covers": [
                str(binomial(int(group["covered"].sum()), int(group["searches"].sum())))
                for _, group in by_noise
            ],
            "to D": [f"{n:,}" for n in by_noise["open"].sum()],
            "high / low": [f"{width:.2f}" for width in by_noise["width"].median()],
            "rmse of a grid": [_percent(r) for r in _pooled(numbers, "grid_rmse")],
        }
    )
    rows = pd.DataFrame(
        {
            "curve": numbers["curve"],
            "target": numbers["target"],
            "noise": [f"{noise:g}" for noise in numbers["noise"]],
            "d_int": [f"{d:,}" for d in numbers["d_int"]],
            "rmse": [_percent(r) for r in numbers["rmse"]],
            "least possible": [_percent(r) for r in numbers["least"]],
            "bias": [_percent(r) for r in numbers["bias"]],
            "covers": [
                f"{c / n:.0%}" for c, n in zip(numbers["covered"], numbers["searches"], strict=True)
            ],
            "grid rmse": [_percent(r) for r in numbers["grid_rmse"]],
        }
    )
    total, covered = int(numbers["searches"].sum()), int(numbers["covered"].sum())
    rmse, grid = (math.sqrt((numbers[c] ** 2).mean()) for c in ("rmse", "grid_rmse"))
    summary = (
        f"In {total:,} simulated searches of {PLAN.trainings} trainings, d_int has an rmse of "
        f"{_percent(rmse)} (a grid: {_percent(grid)}); its 95% interval covers the truth in "
        f"{covered / total:.1%}."
    )
    return Page(
        "dimension-search",
        "How good is the search for an intrinsic dimension?",
        summary,
        {"by_noise": table, "rows": rows},
        stored.text,
        {"trainings": PLAN.trainings, "baselines": BASELINES},
        command="python -m benchmarks.dimension_search --rebuild",
    )


def _pooled(numbers: pd.DataFrame, column: str) -> list[float]:
    """Root of the mean square over the curves, for each noise."""
    return [math.sqrt((group[column] ** 2).mean()) for _, group in numbers.groupby("noise")]


def _percent(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:.1f}%"  # no negative zero


def main() -> None:
    parser = measurements.options(__doc__)
    parser.add_argument("--searches", type=int, default=34, help="of each curve, target and noise")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args()
    if not options.rebuild:
        with ProcessPoolExecutor(options.jobs) as pool:
            rows = list(pool.map(simulate, simulations(), itertools.repeat(options.searches)))
        measurements.save("dimension-search", options.out, pd.DataFrame(rows), {})
    stored = measurements.load("dimension-search", options.out)
    print(*write_page(page(stored), options.out), sep="\n")


if __name__ == "__main__":
    main()
