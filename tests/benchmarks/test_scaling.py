"""The simulated cluster of benchmarks/simulated_cluster.py, where the makespan is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.simulated_cluster import NEVER, Cluster, ideal

FREE = Cluster(2, checkpoint=NEVER, write=0.0, dispatch=0.0)


def test_makespans_that_are_known() -> None:
    seconds, random = np.array([1.0, 2.0, 40.0, 3.0]), np.random.default_rng(0)
    assert FREE.makespan(seconds, random) == 40  # the others fit beside the longest
    slow = Cluster(4, checkpoint=NEVER, write=0.0, dispatch=1.0)
    assert slow.makespan(np.full(4, 10.0), random) == pytest.approx(14)
    saved = Cluster(1, checkpoint=10.0, write=0.5, dispatch=0.0)
    assert saved.makespan(np.array([35.0]), random) == pytest.approx(36.5)


def test_failures_cost_time_and_checkpoints_save_it() -> None:
    seconds = np.full(50, 500.0)
    times = [
        Cluster(5, 1_000.0, checkpoint=interval, write=0.0, dispatch=0.0).makespan(
            seconds, np.random.default_rng(1)
        )
        for interval in (NEVER, 10.0)
    ]
    assert 5_000 < times[1] < times[0]


def test_the_perfect_engine() -> None:
    assert ideal([4.0, 3.0, 3.0, 2.0], 2) == 6.0
