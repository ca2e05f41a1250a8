"""results/regression.md: what checks promise, and what was measured of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from benchmarks import promise
from benchmarks.faults import FAULTS
from benchmarks.promise import ALPHA, CHECKS, EFFECT, REFERENCE, RUNS, UNCHANGED, text
from subspace_bench.regression import checking
from subspace_bench.regression.flow import REMEDY
from subspace_bench.regression.reference import Reference, load
from subspace_bench.regression.sequential import LOOKS, WITHIN, Design
from subspace_bench.report import write_figures
from subspace_bench.runs import write_atomically
from subspace_bench.statistics import Rate, Sample, binomial, difference

DRAWN, POOLS, DRAWN_A_POOL = 20_000, 200, 1_000  # checks; pools resampled, and checks of each
Pool = Mapping[str, np.ndarray]  # name of a reference → accuracies of unchanged runs, by seed


def is_red(references: Mapping[str, Reference], new: Pool) -> np.ndarray:
    """(references,) of whether `checking.check` calls each moved by these new numbers."""

    def measure(tasks: Sequence[checking.Task]) -> checking.Measured:
        return {(n, s): float(new[n][s - checking.FIRST_SEED]) for n, s in tasks}

    return np.array([o.verdict != WITHIN for o in checking.check(references, measure, ALPHA)])


def alarms(pool: Pool, count: int, checks: int, rng: np.random.Generator) -> np.ndarray:
    """(checks, references): each check draws references of `count` and new numbers, disjoint.

    One draw of seeds serves all references, as one set of seeds does in a check.
    """
    size = min(len(values) for values in pool.values())
    found = np.empty((checks, len(pool)), bool)
    for i in range(checks):
        seeds = rng.permutation(size)[: count + LOOKS[-1]]
        references = {n: Reference(tuple(v[seeds[:count]].tolist())) for n, v in pool.items()}
        found[i] = is_red(references, {n: v[seeds[count:]] for n, v in pool.items()})
    return found


def false_alarms(pool: Pool, count: int) -> tuple[Rate, np.ndarray]:
    """Of all checks, and the share of each reference.

    The interval counts what another pool would have given: the variance over resampled pools, less
    what their fewer checks add to it, plus that of the checks made here.
    """
    rng = np.random.default_rng(0)
    found = alarms(pool, count, DRAWN, rng)
    red = found.any(1)
    rates = np.empty(POOLS)
    for i in range(POOLS):
        seeds = rng.integers(min(map(len, pool.values())), size=min(map(len, pool.values())))
        other = {name: values[seeds] for name, values in pool.items()}
        rates[i] = alarms(other, count, DRAWN_A_POOL, rng).any(1).mean()
    rate = float(red.mean())
    noise = float(rates.mean() * (1 - rates.mean())) / DRAWN_A_POOL
    spread = max(float(rates.var(ddof=1)) - noise, 0.0) + rate * (1 - rate) / DRAWN
    half = 1.96 * spread**0.5
    return Rate(int(red.sum()), DRAWN, max(rate - half, 0.0), rate + half), found.mean(0)


def committed(references: Mapping[str, Reference], pool: Pool) -> Rate:
    """The same with the committed reference, which is one draw: new numbers from the rest."""
    rng = np.random.default_rng(1)
    start = max(len(reference.values) for reference in references.values())
    rest = {name: values[start:] for name, values in pool.items()}
    size = min(len(values) for values in rest.values())
    count = 0
    for _ in range(DRAWN):
        seeds = rng.permutation(size)[: LOOKS[-1]]
        count += bool(is_red(references, {n: v[seeds] for n, v in rest.items()}).any())
    return binomial(count, DRAWN)


@dataclass(frozen=True)
class Found:
    """What a fault does, and what a check said of it.

    Attributes:
        effects: of each run on which it is measured: mean change in points and its 95% half-width;
            None where trainings came to nothing.
        sizes: |change| in units of the smallest shift that is promised to be found.
        outcomes: of the check.
    """

    name: str
    effects: Mapping[str, tuple[float, float] | None]
    sizes: Mapping[str, float]
    outcomes: Sequence[checking.Outcome]

    @property
    def worst(self) -> str:
        return max(self.sizes, key=lambda run: self.sizes[run])

    @property
    def size(self) -> float:
        return self.sizes[self.worst]

    @property
    def caught(self) -> bool:
        return any(outcome.verdict != WITHIN for outcome in self.outcomes)


def found(
    name: str, numbers: Mapping[promise.Cell, str], references: Mapping[str, Reference], pool: Pool
) -> Found:
    """What was measured of one fault.

    Raises:
        Lacking: where not all that it takes is trained.
    """
    effects: dict[str, tuple[float, float] | None] = {}
    sizes = {}
    for run in FAULTS[name].measured:
        values = [
            promise.number(value) for (fault, of, seed), value in numbers.items()
            if (fault, of) == (name, run) and seed >= EFFECT
        ]  # fmt: skip
        effects[run] = effect(values, pool[run])
        change = effects[run]
        sizes[run] = abs(change[0]) / smallest(references, run) if change else np.inf
    return Found(name, effects, sizes, promise.gate(name, references, numbers))


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
    shift = Design(ALPHA, len(references), len(reference.values)).smallest()
    return shift * reference.sample.sd


def pool_of(references: Mapping[str, Reference], numbers: Mapping[promise.Cell, str]) -> Pool:
    """The references' own numbers, then the unchanged runs beyond them, by seed."""
    return {
        name: np.array([*reference.values, *(float(value) for (fault, of, _), value in sorted(
            numbers.items()) if (fault, of) == (UNCHANGED, name))])
        for name, reference in references.items()
    }  # fmt: skip


def write(results: Path) -> None:
    """Writes `regression.md` and its figure."""
    references = load(REFERENCE, REMEDY)
    numbers = promise.numbers()
    pool = pool_of(references, numbers)
    faults = [found(name, numbers, references, pool) for name in FAULTS]
    count = min(len(reference.values) for reference in references.values())
    overall, each = false_alarms(pool, count)
    parts = [
        *text.promised(references, faults, overall),
        *text.faults(faults),
        *text.false_alarms(
            overall, dict(zip(references, each, strict=True)), committed(references, pool), pool
        ),
        *text.checks(promise.stored(CHECKS)),
        *text.trade(references),
        f"Every number: [{RUNS.name}]({RUNS.name}) and [{REFERENCE.name}]({REFERENCE.name}). "
        "Measure again: `python -m benchmarks.promise train`, then `checks`, then `page`.",
    ]
    write_atomically(results / "regression.md", "\n\n".join(parts) + "\n")
    write_figures({"regression": lambda: draw(faults, references)}, results)


def draw(faults: Sequence[Found], references: Mapping[str, Reference]) -> Figure:
    """Effect of each fault, in units of the smallest promised shift; caught or missed."""
    figure, axes = plt.subplots(figsize=(7, 3.2))
    rng = np.random.default_rng(0)
    for said, colour in ((True, "tab:blue"), (False, "tab:red")):
        sizes = [min(max(f.size, 0.02), 100) for f in faults if f.caught == said]
        heights = rng.uniform(0.1, 0.9, len(sizes))
        label = f"{'caught' if said else 'missed'} ({len(sizes)})"
        axes.plot(sizes, heights, "o", color=colour, ms=5, alpha=0.8, label=label)
    grid = np.geomspace(0.02, 100, 200)
    design = Design(ALPHA, len(references), min(len(r.values) for r in references.values()))
    power = [design.power(x * design.smallest()) for x in grid]
    axes.plot(grid, power, color="0.4", lw=1.2, label="stated power")
    axes.axvline(1, color="0.6", lw=0.8, ls=":")
    axes.set(xscale="log", xlabel="effect of the fault / smallest shift promised to be found",
             ylabel="stated power", ylim=(0, 1.02))  # fmt: skip
    axes.legend(loc="lower right", fontsize=8)
    return figure
