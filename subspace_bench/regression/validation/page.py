"""results/regression.md: what checks promise, and what was measured of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from subspace_bench.cli.check_flow import REMEDY, belongs
from subspace_bench.common.files import write_atomically
from subspace_bench.datasets.loading import load_or_embedded
from subspace_bench.regression import check as checking
from subspace_bench.regression.reference import Reference, load
from subspace_bench.regression.sequential import MOVED, WITHIN, Design
from subspace_bench.regression.validation import resampling, text, trials
from subspace_bench.regression.validation.mutations import MUTATIONS
from subspace_bench.regression.validation.resampling import Pool
from subspace_bench.regression.validation.trials import (
    ALPHA,
    CHECKS,
    EFFECT,
    REFERENCE,
    RUNS,
    UNCHANGED,
)
from subspace_bench.reporting.figures import write_figure
from subspace_bench.reporting.statistics import Sample, difference


@dataclass(frozen=True)
class Found:
    """What a fault does, and what a check said of it.

    Attributes:
        effects: of each run on which it is measured: mean change in points and its 95% half-width;
            None where a training came to nothing.
        sizes: |change| in units of the smallest shift that is promised to be found, and its least
            by the interval; infinite where there is no change to tell.
        outcomes: of the check.
    """

    name: str
    effects: Mapping[str, tuple[float, float] | None]
    sizes: Mapping[str, tuple[float, float]]
    outcomes: Sequence[checking.Outcome]

    @property
    def worst(self) -> str:
        return max(self.sizes, key=lambda run: self.sizes[run])

    @property
    def size(self) -> float:
        return self.sizes[self.worst][0]

    @property
    def ends_runs(self) -> bool:
        """Whether trainings came to nothing, which is no change of accuracy."""
        return any(change is None for change in self.effects.values())

    @property
    def large(self) -> bool:
        """Whether accuracy changes by more than what is promised to be found."""
        return not self.ends_runs and self.size > 1

    @property
    def surely_large(self) -> bool:
        """The same by the lower end of the change's interval."""
        return self.large and max(least for _, least in self.sizes.values()) > 1

    @property
    def caught(self) -> bool:
        """Whether a check says "moved", or that it cannot judge where runs end in nothing."""
        verdicts = {outcome.verdict for outcome in self.outcomes}
        return MOVED in verdicts or (self.ends_runs and verdicts != {WITHIN})


def found(
    name: str, numbers: Mapping[trials.Cell, str], references: Mapping[str, Reference], pool: Pool
) -> Found:
    """What was measured of one fault.

    Raises:
        Lacking: where not all that it takes is trained.
    """
    effects: dict[str, tuple[float, float] | None] = {}
    sizes = {}
    for run in MUTATIONS[name].measured:
        values = [
            trials.number(value) for (fault, of, seed), value in numbers.items()
            if (fault, of) == (name, run) and seed >= trials.first_seed(name) + EFFECT
        ]  # fmt: skip
        effects[run] = change = effect(values, pool[run])
        size, half = (abs(change[0]), change[1]) if change else (np.inf, 0.0)
        unit = smallest(references, run)
        sizes[run] = size / unit, (size - half) / unit
    return Found(name, effects, sizes, trials.gate(name, references, numbers))


def effect(values: Sequence[float | str], unchanged: np.ndarray) -> tuple[float, float] | None:
    """Mean change and the half-width of its 95% interval; None where a training came to nothing."""
    numbers = tuple(v for v in values if isinstance(v, float))
    interval = difference(Sample(numbers), Sample(tuple(unchanged.tolist())))
    if interval is None or len(numbers) < len(values):
        return None
    return (interval.low + interval.high) / 2, interval.half_width


def smallest(references: Mapping[str, Reference], run: str) -> float:
    """The smallest shift of a run that is promised to be found, in points."""
    reference = references[run]
    shift = Design(ALPHA, len(references), len(reference.values)).minimum_detectable_effect()
    return shift * reference.sample.sd


def pool_of(references: Mapping[str, Reference], numbers: Mapping[trials.Cell, str]) -> Pool:
    """The unchanged runs that no reference has, as many of each."""
    beyond = {
        name: [float(value) for (fault, of, seed), value in sorted(numbers.items())
               if (fault, of) == (UNCHANGED, name) and seed >= len(reference.values)]
        for name, reference in references.items()
    }  # fmt: skip
    size = min(map(len, beyond.values()))
    return {name: np.array(values[:size]) for name, values in beyond.items()}


def write(results: Path) -> None:
    """Writes `regression.md` and its figure."""
    references = load(REFERENCE, REMEDY)
    belongs(references, load_or_embedded())
    numbers, rng = trials.numbers(), np.random.default_rng(0)
    pool = pool_of(references, numbers)
    faults = [found(name, numbers, references, pool) for name in MUTATIONS]
    fixed = resampling.alarms(pool, rng, references)
    count = min(len(reference.values) for reference in references.values())
    whole = {n: np.array([*references[n].values[:count], *pool[n]]) for n in pool}
    free = resampling.alarms(whole, rng, count=count)
    parts = [
        *text.promised(references, faults, (fixed[0], free[0])),
        *text.faults(faults),
        *text.false_alarms(fixed, free, pool),
        *text.shifts(resampling.power(references, pool, rng)),
        *text.checks(trials.checks_made()),
        *text.trade(references),
        f"Every number: [{RUNS.name}]({RUNS.name}), [{CHECKS.name}]({CHECKS.name}) and "
        f"[{REFERENCE.name}]({REFERENCE.name}). "
        "Measure again: `python -m subspace_bench.regression.validation train`, then `checks`, "
        "then `page`.",
    ]
    write_atomically(results / "regression.md", "\n\n".join(parts) + "\n")
    write_figure("regression", lambda: draw(faults, references), results)


def draw(faults: Sequence[Found], references: Mapping[str, Reference]) -> Figure:
    """Effect of each fault, in units of the smallest promised shift; caught above, missed below."""
    figure, axes = plt.subplots(figsize=(7, 3.2))
    rng = np.random.default_rng(0)
    for said, base, colour in ((True, 1.0, "tab:blue"), (False, -0.08, "tab:red")):
        sizes = [max(f.size, 0.01) for f in faults if f.caught == said and not f.ends_runs]
        heights = base + rng.uniform(0, 0.08, len(sizes))  # apart, to be seen
        label = f"{'caught' if said else 'missed'} ({len(sizes)})"
        axes.plot(sizes, heights, "o", color=colour, ms=5, alpha=0.6, label=label)
    grid = np.geomspace(0.01, 1000, 300)
    design = Design(ALPHA, len(references), min(len(r.values) for r in references.values()))
    power = [design.power(x * design.minimum_detectable_effect()) for x in grid]
    axes.plot(grid, power, color="0.4", lw=1.2, label="stated power")
    axes.axvline(1, color="0.6", lw=0.8, ls=":")
    axes.set(xscale="log", xlabel="effect of the fault / smallest shift promised to be found",
             ylabel="probability to be caught", ylim=(-0.12, 1.12))  # fmt: skip
    axes.legend(loc="center right", fontsize=8)
    return figure
