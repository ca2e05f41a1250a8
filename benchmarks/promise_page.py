"""The page of what checks promise: power over planted faults, false alarms over a pool of runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from scipy import stats

from benchmarks import promise
from benchmarks.faults import FAULTS
from subspace_bench.regression import checking
from subspace_bench.regression.reference import Reference, load
from subspace_bench.regression.sequential import LOOKS, WITHIN, Design
from subspace_bench.report import table, write_figures
from subspace_bench.runs import write_atomically
from subspace_bench.statistics import Sample, difference

ALPHA = 0.01
NULL_CHECKS, POOLS, CHECKS_A_POOL = 20_000, 200, 1_000
FAULT_CHECKS, RESAMPLES, CHECKS_A_RESAMPLE = 400, 100, 20
POWER = 0.95
Pool = Mapping[str, np.ndarray]  # name of a reference → accuracies of unchanged runs
Streams = Mapping[str, Sequence[float | str]]  # new numbers, in the order they are asked for


def judged(references: Mapping[str, Reference], streams: Streams) -> list[checking.Outcome]:
    """A check as `subspace-bench check` makes it, whose new numbers are those of `streams`."""

    def measure(tasks: Sequence[checking.Task]) -> checking.Measured:
        return {(n, s): streams[n][s - checking.FIRST_SEED] for n, s in tasks}

    return checking.check(references, measure, ALPHA)


def drawn(pool: Pool, count: int, rng: np.random.Generator) -> tuple[dict[str, Reference], Streams]:
    """A reference of `count` numbers and new ones, disjoint, from the pool."""
    references, streams = {}, {}
    for name, values in pool.items():
        mixed = rng.permutation(values)
        references[name] = Reference(tuple(mixed[:count].tolist()))
        streams[name] = mixed[count : count + LOOKS[-1]].tolist()
    return references, streams


def alarms(pool: Pool, count: int, checks: int, rng: np.random.Generator) -> np.ndarray:
    """(checks, references) of whether each was called moved, nothing having changed."""
    return np.array(
        [
            [o.verdict != WITHIN for o in judged(*drawn(pool, count, rng))]
            for _ in range(checks)
        ]
    )  # fmt: skip


@dataclass(frozen=True)
class Rate:
    """A measured probability, with its 95% interval."""

    count: int
    of: int
    low: float
    high: float

    def __str__(self) -> str:
        value = 100 * self.count / self.of
        return f"{value:.2f}% [{100 * self.low:.2f}, {100 * self.high:.2f}]"


def false_alarms(pool: Pool, count: int) -> tuple[Rate, np.ndarray]:
    """Of all checks, and the share of each reference.

    The interval counts what another pool would have given: the variance over resampled pools, less
    what their fewer checks add to it, plus that of the checks made here.
    """
    rng = np.random.default_rng(0)
    found = alarms(pool, count, NULL_CHECKS, rng)
    red = found.any(1)
    rates = np.empty(POOLS)
    for i in range(POOLS):
        other = {name: rng.choice(values, len(values)) for name, values in pool.items()}
        rates[i] = alarms(other, count, CHECKS_A_POOL, rng).any(1).mean()
    rate = red.mean()
    noise = rates.mean() * (1 - rates.mean()) / CHECKS_A_POOL
    spread = max(rates.var(ddof=1) - noise, 0.0) + rate * (1 - rate) / len(red)
    half = 1.96 * float(np.sqrt(spread))
    return Rate(int(red.sum()), len(red), max(rate - half, 0.0), rate + half), found.mean(0)


@dataclass(frozen=True)
class Caught:
    """What a fault does, and how often a check finds it.

    Attributes:
        effects: of each run that it touches: mean change in points and its 95% half-width; None
            where trainings came to nothing.
        worst: the largest |change| in units of the smallest shift that is promised.
    """

    name: str
    effects: Mapping[str, tuple[float, float] | None]
    worst: str
    size: float
    rate: Rate

    @property
    def promised(self) -> bool:
        """Whether its effect exceeds what is promised to be found."""
        return self.size > 1


def caught(
    name: str, rows: pd.DataFrame, references: Mapping[str, Reference], pool: Pool
) -> Caught:
    """Measures one fault: `rows` are its own runs."""
    values: dict[str, list[float | str]] = {
        run: [float(v) if is_number(v) else str(v) for v in of.accuracy]
        for run, of in rows.groupby("run", sort=False)
    }
    effects = {run: effect(found, pool[run]) for run, found in values.items()}
    sizes = {}
    for run, change in effects.items():
        smallest = shift(len(references[run].values)) * references[run].sample.sd
        sizes[run] = abs(change[0]) / smallest if change else np.inf
    worst = max(sizes, key=lambda run: sizes[run])
    rng = np.random.default_rng(0)

    def hits(of: Mapping[str, list[float | str]], checks: int) -> int:
        return sum(is_red(references, pool, of, rng) for _ in range(checks))

    count = hits(values, FAULT_CHECKS)
    again = []
    for _ in range(RESAMPLES):
        other = {run: [v[i] for i in rng.integers(len(v), size=len(v))] for run, v in values.items()}
        again.append(hits(other, CHECKS_A_RESAMPLE) / CHECKS_A_RESAMPLE)
    low, high = np.percentile(again, (2.5, 97.5))
    rate = Rate(count, FAULT_CHECKS, float(low), float(high))
    return Caught(name, effects, worst, sizes[worst], rate)


def is_red(
    references: Mapping[str, Reference],
    pool: Pool,
    values: Mapping[str, list[float | str]],
    rng: np.random.Generator,
) -> bool:
    """Whether a check with this fault ends red for a run that it touches."""
    streams: dict[str, Sequence[float | str]] = {
        name: rng.choice(pool[name], LOOKS[-1]).tolist() for name in references
    }
    for run, found in values.items():
        streams[run] = [found[i] for i in rng.permutation(len(found))]
    return any(o.verdict != WITHIN for o in judged(references, streams) if o.name in values)


def is_number(value: object) -> bool:
    return str(value).replace(".", "", 1).isdigit()


def effect(found: Sequence[float | str], unchanged: np.ndarray) -> tuple[float, float] | None:
    """Mean change and the half-width of its 95% interval; None where a training came to nothing."""
    numbers = [v for v in found if isinstance(v, float)]
    if len(numbers) < len(found):
        return None
    interval = difference(Sample(tuple(numbers)), Sample(tuple(unchanged.tolist())))
    assert interval is not None
    return (interval.low + interval.high) / 2, interval.half_width


def shift(count: int, looks: tuple[int, ...] = LOOKS) -> float:
    """The smallest shift, in standard deviations, that the six references together promise."""
    from subspace_bench.regression import suite

    return Design(ALPHA, len(suite.runs()), count, looks).smallest(POWER)


def write(results: Path) -> None:
    """Writes `regression.md`, and its figure."""
    references = load(promise.REFERENCE, "make one with `subspace-bench check --rebase`")
    runs = promise.stored(promise.RUNS)
    unchanged = runs[runs.fault == promise.UNCHANGED]
    pool = {n: np.array([float(v) for v in unchanged[unchanged.run == n].accuracy]) for n in references}
    count = min(len(reference.values) for reference in references.values())
    rate, each = false_alarms(pool, count)
    found = [
        caught(name, runs[runs.fault == name], references, pool)
        for name in FAULTS if (runs.fault == name).any()
    ]  # fmt: skip
    parts = [
        "# What `subspace-bench check` promises, and what was measured",
        HOW.format(alpha=f"{ALPHA:.0%}", looks=", ".join(map(str, LOOKS)), count=count),
        table(promises(references)),
        *faults_section(found),
        *alarms_section(rate, dict(zip(references, each, strict=True)), pool),
        *trade_section(references),
        "Numbers: [regression-runs.csv](regression-runs.csv), a row a run. Measure again: `python -m benchmarks.promise train`, `checks`, `page`.",
    ]
    write_atomically(results / "regression.md", "\n\n".join(parts) + "\n")
    write_figures({"regression": lambda: draw(found, count)}, results)
