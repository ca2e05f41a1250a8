"""Shifts of the promised size, in both directions, and how many of them `check` finds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.torture.campaigns import Row, Setting
from subspace_bench.regression import suite
from subspace_bench.regression.reference import load
from subspace_bench.regression.validation import resampling, trials
from subspace_bench.regression.validation.measurements import pool_of

PROMISED = 0.95


def rows(setting: Setting) -> Iterator[Row]:
    references = load(trials.REFERENCE, suite.REMEDY)
    pool = pool_of(references, trials.accuracies())
    if any(len(values) == 0 for values in pool.values()):  # the reference is of the real MNIST
        yield Row("the minimum detectable drop and rise", measured="not tried: MNIST is not here")
        return
    resampling.CHECKS = setting.times(20_000, 1_000)
    power = resampling.power(references, pool, np.random.default_rng(setting.seed))
    for name, sign in (("drop", -1.0), ("rise", 1.0)):
        row = Row(f"the minimum detectable {name}: found in {PROMISED:.0%} of checks of each run")
        for run, shares in power.items():
            found = shares[sign]
            row.count(*([] if found >= PROMISED else [f"{run}: found in {found:.1%}"]))
        row.times *= resampling.CHECKS
        found_in = sorted(of[sign] for of in power.values())
        row.measured = f"found in {found_in[0]:.1%} to {found_in[-1]:.1%}, by run"
        yield row
