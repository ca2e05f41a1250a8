"""The predicted cost of runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from subspace_bench import models
from subspace_bench.common.errors import UserError
from subspace_bench.records.config import RunConfig, TrainingConfig
from subspace_bench.records.store import Record
from subspace_bench.training import preflight
from subspace_bench.training.cost import (
    PARENT_MEMORY,
    WORKER_MEMORY,
    WORKER_START_SECONDS,
    Cost,
    count_operations,
    estimate,
    estimator,
    jobs_that_fit,
    memory_together,
    wall_seconds,
)
from subspace_bench.training.preflight import choose_jobs

RUN = RunConfig("conv", "he", TrainingConfig(steps=2_000, batch=256, lr=3e-3))
WIDE = replace(RUN, dim=10_000, projector="orthonormal", origin="zero")
FACTS = {"seconds_set_up": 5.0, "seconds_training": 100.0, "peak_memory_mb": 2_000}


def test_operations_are_counted_from_the_net() -> None:
    first, second = 10 * 25 * 24**2, 20 * 10 * 25 * 8**2
    assert count_operations("conv") == (first + second, 320 * 50 + 50 * 10, 21_840)
    assert count_operations("fc") == (0, 784 * 200 + 200 * 200 + 200 * 10, 199_210)
    for name in models.MODELS:
        conv, dense, native = count_operations(name)
        assert conv + dense > native / 2


def test_more_of_anything_costs_more() -> None:
    base = estimate(RUN)
    assert estimate(RUN.with_steps(20_000)).training > 8 * base.training
    assert estimate(WIDE).training > 2 * base.training
    assert estimate(WIDE).set_up > 10
    assert 1.7e9 < estimate(WIDE).memory < 2.5e9
    assert estimate(RUN.with_steps(20_000)).disk > base.disk > 0


def test_a_projector_that_stores_nothing_needs_no_memory() -> None:
    wide = replace(WIDE, model="tutorial-9", dim=10_000, origin="init")
    assert estimate(replace(wide, projector="gaussian")).memory > 1e11
    assert estimate(replace(wide, projector="fastfood")).memory < 3e9


def test_recomputing_entries_takes_time() -> None:
    small = replace(WIDE, dim=1_000, origin="init")
    signs, normal = (
        estimate(replace(small, projector=name)).training
        for name in ("regenerated-signs", "regenerated")
    )
    assert estimate(replace(small, projector="hashed")).training < signs < normal


def test_a_record_of_another_seed_and_length_is_scaled() -> None:
    expected = estimator([Record(RUN, {}, FACTS)])
    other = expected(replace(RUN, seed=3).with_steps(1_000))
    assert (other.set_up, other.training, other.memory) == (5.0, 50.0, 2e9 - WORKER_MEMORY)
    assert expected(WIDE) == estimate(WIDE)
    assert expected(replace(RUN, device="cuda")) == estimate(replace(RUN, device="cuda"))


def test_wall_time_is_that_of_the_busiest_worker() -> None:
    costs = [Cost(0, seconds, 0, 0) for seconds in (1, 2, 3, 10)]
    assert wall_seconds(costs, 1) == WORKER_START_SECONDS + 16
    assert wall_seconds(costs, 2) == WORKER_START_SECONDS + 12
    assert wall_seconds(costs, 8) == WORKER_START_SECONDS + 10


def test_jobs_are_as_many_as_memory_holds() -> None:
    costs = [Cost(0, 1, memory, 0) for memory in (1e9, 3e9, 2e9)]
    together = PARENT_MEMORY + 3 * WORKER_MEMORY
    assert memory_together(costs, 2) == PARENT_MEMORY + 5e9 + 2 * WORKER_MEMORY
    assert jobs_that_fit(costs, 3, together + 6e9) == 3
    assert jobs_that_fit(costs, 3, together + 5.5e9) == 2
    assert jobs_that_fit(costs, 3, 1e9) == 1
    assert jobs_that_fit(costs, 10**9, together + 6e9) == 3
    assert wall_seconds(costs, 10**9) == WORKER_START_SECONDS + 1


def test_a_run_that_does_not_fit_is_refused(monkeypatch) -> None:
    costs = {"small": Cost(0, 1, 1e9, 0), "large": Cost(0, 1, 3e9, 0)}
    monkeypatch.setattr(preflight, "available_memory", lambda: 3.2e9)
    monkeypatch.setattr(preflight, "resident_memory", lambda: 0)
    assert choose_jobs({"small": costs["small"]}, 10**9) == 1
    with pytest.raises(UserError, match="large"):
        choose_jobs(costs, None)


def test_batches_need_memory() -> None:
    """20,000 images at a time took 334 MB more than 256, measured."""
    large = replace(RUN, protocol=replace(RUN.protocol, batch=20_000))
    assert estimate(large).memory - estimate(RUN).memory == pytest.approx(334e6, rel=0.2)
