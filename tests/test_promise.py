"""The page of what checks promise, from numbers whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import promise
from benchmarks.faults import FAULTS
from benchmarks.promise import (
    EFFECT,
    UNCHANGED,
    Lacking,
    append,
    gate,
    numbers,
    page,
    text,
    training,
)
from subspace_bench.regression import suite
from subspace_bench.regression.checking import FIRST_SEED
from subspace_bench.regression.reference import Reference, save

SD = 0.3
LARGE, SMALL, BROKEN = list(FAULTS)[:3]


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """A folder with references, a pool and three faults: of 3 points, of nothing, and a crash."""
    for module in (promise, page, training):
        for name in ("RUNS", "CHECKS", "REFERENCE"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, tmp_path / getattr(promise, name).name)
    for fault in list(FAULTS)[3:]:
        monkeypatch.delitem(FAULTS, fault)
    for name, few in (("DRAWN", 60), ("POOLS", 4), ("DRAWN_A_POOL", 30)):
        monkeypatch.setattr(page, name, few)
    monkeypatch.setattr(text, "TRADE", ((40, 16),))
    rng = np.random.default_rng(0)
    runs = list(suite.runs())
    references = {n: Reference(tuple((95 + SD * rng.standard_normal(40)).tolist())) for n in runs}
    save(promise.REFERENCE, references, "")
    pool = [(UNCHANGED, n, s, 95 + SD * rng.standard_normal()) for n in runs for s in range(40, 80)]
    shifts = {LARGE: -3.0, SMALL: 0.0}
    rows = [
        (fault, name, seed, 95 + shift + SD * rng.standard_normal())
        for fault, shift in shifts.items()
        for name in FAULTS[fault].measured
        for seed in (*range(FIRST_SEED, FIRST_SEED + 16), *range(EFFECT, EFFECT + 20))
    ]
    crashes = [
        (BROKEN, n, s, "ValueError")
        for n in FAULTS[BROKEN].measured for s in (FIRST_SEED, FIRST_SEED + 1, EFFECT, EFFECT + 1)
    ]  # fmt: skip
    append(promise.RUNS, *pool, *rows, *crashes)
    return tmp_path, references


def test_the_page_tells_caught_from_missed_and_large_from_small(measured) -> None:
    folder, _ = measured
    page.write(folder)
    said = (folder / "regression.md").read_text()
    lines = said.splitlines()
    (large,), (small,), (broken,) = (
        [line for line in lines if line.startswith(f"| {name} ")] for name in (LARGE, SMALL, BROKEN)
    )
    assert "caught: " in large
    assert "-3.0" in large or "-2.9" in large
    assert "missed: " in small
    assert lines.index(small) < lines.index(large)  # the missed first
    assert "| fails " in broken
    assert "3 faults, 1 missed" in said
    assert "caught 2 of 2" in said
    assert "80 unchanged trainings of each run" in said
    assert (folder / "figures" / "regression.png").exists()


def test_a_check_asks_for_more_only_where_in_doubt(measured) -> None:
    _, references = measured
    with pytest.raises(Lacking) as lacking:
        gate(LARGE, references, {})
    first = [
        (n, FIRST_SEED + i) for n in suite.runs() for i in (0, 1) if n in FAULTS[LARGE].measured
    ]
    assert sorted(lacking.value.tasks) == sorted(first)
    outcomes = gate(LARGE, references, numbers())
    assert {o.name for o in outcomes} == set(FAULTS[LARGE].measured)
    assert all(o.verdict == "moved" for o in outcomes)


def test_what_is_trained_is_not_trained_again(measured) -> None:
    assert training.missing(80, 20, [LARGE, SMALL]) == []
    [(fault, tasks)] = training.missing(81, 20, [LARGE])
    assert fault == UNCHANGED
    assert tasks == [(name, 80) for name in suite.runs()]
    assert {f for f, _ in training.missing(80, 21, [LARGE, SMALL])} == {LARGE, SMALL}
