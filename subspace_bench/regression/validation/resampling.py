"""Checks drawn from runs that are trained already: false alarms, and the power of plain shifts.

`alarms` goes through `checking.check` itself. Intervals resample the runs, which takes thousands of
checks for each resample: they go through `Design.moved`, which is `judge` for many tests at once,
and `alarms` makes sure that it says the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from subspace_bench.regression import FIRST_SEED
from subspace_bench.regression import check as checking
from subspace_bench.regression.reference import Reference
from subspace_bench.regression.sequential import STAGES, WITHIN, Design
from subspace_bench.regression.validation.trials import ALPHA
from subspace_bench.reporting.statistics import Rate

CHECKS, RESAMPLES = 20_000, 400
# Down and up, in units of the smallest shift that is promised to be found.
SHIFTS = (-1.5, -1.0, -0.5, 0.5, 1.0, 1.5)
Pool = Mapping[str, np.ndarray]  # name of a reference → accuracies of unchanged runs, by seed
References = Mapping[str, Reference]


def draw(
    ids: np.ndarray, count: int, checks: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Seeds of references (checks, count) and of new numbers (checks, n), disjoint in each check.

    Arguments:
        ids: seeds to draw from; one may come several times, as in a resample.
    """
    old, new = np.empty((checks, count), int), np.empty((checks, STAGES[-1]), int)
    for i in range(checks):
        seeds = rng.permutation(ids)
        old[i] = seeds[:count]
        rest = seeds[count:]
        new[i] = rest[~np.isin(rest, old[i])][: STAGES[-1]]
    return old, new


def red(design: Design, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """(checks,) of whether new numbers (checks, n) have moved from references (checks or 1, n₀)."""
    pairs = np.empty(new.shape)
    for i in range(new.shape[1]):
        one = new[:, i : i + 1]
        pairs[:, i] = ((old < one).sum(1) + (old <= one).sum(1)) / 2
    return design.moved(pairs.cumsum(1))


def judged(references: References, new: Pool) -> np.ndarray:
    """(references,) of whether `checking.check` calls each moved by these new numbers."""

    def measure(tasks: Sequence[checking.Task]) -> checking.Measured:
        return {(n, s): float(new[n][s - FIRST_SEED]) for n, s in tasks}

    return np.array([o.verdict != WITHIN for o in checking.check(references, measure, ALPHA)])


def alarms(
    pool: Pool, rng: np.random.Generator, references: References | None = None, count: int = 0
) -> tuple[Rate, dict[str, float]]:
    """The share of checks of unchanged code that are red, of all together and of each run.

    One draw of seeds serves all runs, as one set of seeds does in a check. The interval counts what
    other trainings would have given: it is that of the rate over resampled pools, and of the checks
    that were drawn here.

    Arguments:
        pool: runs to draw from, as many of each.
        references: held against all that is drawn; without them, some of `count` are drawn, too.
    """
    size = len(next(iter(pool.values())))
    lengths = {n: len(references[n].values) if references else count for n in pool}
    designs = {name: Design(ALPHA, len(pool), length) for name, length in lengths.items()}

    def quickly(old: np.ndarray, new: np.ndarray) -> np.ndarray:
        columns = []
        for name, values in pool.items():
            known = np.array([references[name].values]) if references else values[old]
            columns.append(red(designs[name], known, values[new]))
        return np.stack(columns, 1)

    old, new = draw(np.arange(size), count, CHECKS, rng)
    found = np.stack(
        [
            judged(
                references or {n: Reference(tuple(v[seeds].tolist())) for n, v in pool.items()},
                {n: v[fresh] for n, v in pool.items()},
            )
            for seeds, fresh in zip(old, new, strict=True)
        ]
    )
    assert (found == quickly(old, new)).all(), "Design.moved and checking.check differ"
    rates = [
        quickly(*draw(rng.integers(size, size=size), count, CHECKS // 4, rng)).any(1).mean()
        for _ in range(RESAMPLES)
    ]
    rate = float(found.any(1).mean())
    noise = rate * (1 - rate)
    spread = max(float(np.var(rates, ddof=1)) - noise / (CHECKS // 4), 0.0) + noise / CHECKS
    half = 1.96 * spread**0.5
    total = Rate(int(found.any(1).sum()), CHECKS, max(rate - half, 0.0), rate + half)
    return total, dict(zip(pool, found.mean(0).tolist(), strict=True))


def power(
    references: References, pool: Pool, rng: np.random.Generator
) -> dict[str, dict[float, float]]:
    """run → (shift, in units of the smallest promised) → share of checks that find it.

    Unchanged runs, all shifted alike, against the reference: accuracies as they are, not normal.
    """
    found: dict[str, dict[float, float]] = {}
    for name, reference in references.items():
        design = Design(ALPHA, len(references), len(reference.values))
        smallest = design.minimum_detectable_effect() * reference.sample.sd
        _, new = draw(np.arange(len(pool[name])), 0, CHECKS, rng)
        old = np.array([reference.values])
        found[name] = {
            times: float(red(design, old, pool[name][new] + times * smallest).mean())
            for times in SHIFTS
        }
    return found
