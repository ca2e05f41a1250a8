"""Checks resampled from stored runs: false-positive rates, and power for constant shifts.

A check here is `Design.judge_many`, which a test compares with `Design.judge`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from subspace_bench.regression.reference import Reference
from subspace_bench.regression.sequential import STAGES, Design
from subspace_bench.regression.validation.trials import ALPHA, design_of, minimum_detectable_effect
from subspace_bench.reporting.statistics import Rate

CHECKS, RESAMPLES = 20_000, 400
SHIFTS = (-1.5, -1.0, -0.5, 0.5, 1.0, 1.5)  # over the minimum detectable effect of that sign
Pool = Mapping[str, np.ndarray]  # run → accuracies of unchanged code, by seed
References = Mapping[str, Reference]


def draw_seeds(
    seeds: np.ndarray, count: int, checks: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Seeds of references (checks, count) and of new values (checks, n), disjoint in each check.

    Arguments:
        seeds: seeds to draw from; a bootstrap resample repeats some.
    """
    old, new = np.empty((checks, count), int), np.empty((checks, STAGES[-1]), int)
    used = np.zeros(seeds.max() + 1, bool)
    for i in range(checks):
        permuted = rng.permutation(seeds)
        old[i], rest = permuted[:count], permuted[count:]
        used[old[i]] = True
        new[i] = rest[~used[rest]][: STAGES[-1]]
        used[old[i]] = False
    return old, new


def judge_changed(design: Design, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """(checks,) of "changed", for new values (checks, n) and references (checks or 1, n₀)."""
    below = np.empty(new.shape)
    for i in range(new.shape[1]):
        value = new[:, i : i + 1]
        below[:, i] = ((old < value).sum(1) + (old <= value).sum(1)) / 2
    return design.judge_many(below.cumsum(1))


def false_positives(
    pool: Pool, rng: np.random.Generator, references: References | None = None, count: int = 0
) -> tuple[Rate, dict[str, float]]:
    """The share of checks of unchanged code that report a change: in any run, and in each run.

    All runs of a check share one draw of seeds, as in a real check. The 95% interval includes the
    variation between training runs: its variance is the variance of the rate over bootstrap
    resamples of the pool, minus the binomial noise of their checks, plus that of these checks.

    Arguments:
        pool: the same number of accuracies for each run.
        references: compared with every draw. Without them, references of `count` values are drawn.
    """
    size = len(next(iter(pool.values())))
    lengths = {n: len(references[n].values) if references else count for n in pool}
    designs = {name: Design(ALPHA, len(pool), length) for name, length in lengths.items()}

    def judge_all(old: np.ndarray, new: np.ndarray) -> np.ndarray:
        columns = []
        for name, values in pool.items():
            reference = np.array([references[name].values]) if references else values[old]
            columns.append(judge_changed(designs[name], reference, values[new]))
        return np.stack(columns, 1)

    changed = judge_all(*draw_seeds(np.arange(size), count, CHECKS, rng))
    rates = [
        judge_all(*draw_seeds(rng.integers(size, size=size), count, CHECKS // 4, rng)).any(1).mean()
        for _ in range(RESAMPLES)
    ]
    rate = float(changed.any(1).mean())
    noise = rate * (1 - rate)
    variance = max(float(np.var(rates, ddof=1)) - noise / (CHECKS // 4), 0.0) + noise / CHECKS
    half = 1.96 * variance**0.5
    total = Rate(int(changed.any(1).sum()), CHECKS, max(rate - half, 0.0), rate + half)
    return total, dict(zip(pool, changed.mean(0).tolist(), strict=True))


def power(
    references: References, pool: Pool, rng: np.random.Generator
) -> dict[str, dict[float, float]]:
    """run → shift → share of checks that detect it.

    Shifts are in units of the minimum detectable effect of their sign.

    Compares unchanged runs, all shifted by a constant, with the reference. So accuracies have
    their real distribution, not a normal one.
    """
    detected: dict[str, dict[float, float]] = {}
    for name, reference in references.items():
        design = design_of(references, name)
        _, new = draw_seeds(np.arange(len(pool[name])), 0, CHECKS, rng)
        old = np.array([reference.values])
        detected[name] = {
            shift: float(judge_changed(design, old, pool[name][new] + shift * effect).mean())
            for shift in SHIFTS
            for effect in [minimum_detectable_effect(references, name, shift)]
        }
    return detected
