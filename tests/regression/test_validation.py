"""The page of what checks promise, from numbers whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from subspace_bench.datasets.embedded import embedded_digits
from subspace_bench.regression import suite
from subspace_bench.regression.reference import Reference, save
from subspace_bench.regression.sequential import Design
from subspace_bench.regression.validation import mutations, page, resampling, text, training, trials
from subspace_bench.regression.validation.mutations import MUTATIONS
from subspace_bench.regression.validation.trials import (
    EFFECT,
    UNCHANGED,
    Lacking,
    append,
    first_seed,
    gate,
    identity,
    numbers,
)

SD = 0.3
LARGE, SMALL, BROKEN = list(MUTATIONS)[:3]


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """A folder with references, a pool and three faults: of 3 points, of nothing, and a crash."""
    for module in (trials, page, training):
        for name in ("RUNS", "CHECKS", "REFERENCE"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, tmp_path / getattr(trials, name).name)
    for fault in list(MUTATIONS)[3:]:
        monkeypatch.delitem(MUTATIONS, fault)
    for name, few in (("CHECKS", 60), ("RESAMPLES", 4)):
        monkeypatch.setattr(resampling, name, few)
    monkeypatch.setattr(page, "belongs", lambda *given: None)
    monkeypatch.setattr(trials, "load_or_embedded", embedded_digits)
    trials.identity.cache_clear()
    monkeypatch.setattr(text, "TRADE", ((40, 16),))
    rng = np.random.default_rng(0)
    runs = list(suite.runs())
    references = {n: Reference(tuple((95 + SD * rng.standard_normal(40)).tolist())) for n in runs}
    save(trials.REFERENCE, references)
    pool = [(UNCHANGED, n, s, 95 + SD * rng.standard_normal()) for n in runs for s in range(40, 80)]
    shifts = {LARGE: -3.0, SMALL: 0.0}
    rows = [
        (fault, name, seed, 95 + shift + SD * rng.standard_normal())
        for fault, shift in shifts.items()
        for name in MUTATIONS[fault].measured
        for i in (*range(16), *range(EFFECT, EFFECT + 20))
        for seed in [first_seed(fault) + i]
    ]
    crashes = [
        (BROKEN, n, first_seed(BROKEN) + i, "ValueError: no")
        for n in MUTATIONS[BROKEN].measured for i in (0, 1, EFFECT, EFFECT + 1)
    ]  # fmt: skip
    stale = [(LARGE, n, first_seed(LARGE), 0.0, "another") for n in MUTATIONS[LARGE].measured]
    trained = [*pool, *rows, *crashes]
    append(trials.RUNS, *stale, *((*row, identity(row[0], row[1])) for row in trained))
    yield tmp_path, references
    trials.identity.cache_clear()


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
    assert "| ends runs " in broken
    assert "not judged" in broken
    assert "**Missed although above the promise**: none" in said
    assert "caught 1 of 1" in said
    assert "Of 1 whose effect is below the promise, caught 0 of 1" in said
    assert "1 end some training in an error or NaN" in said
    assert "40 unchanged trainings of each run" in said
    assert (folder / "figures" / "regression.png").exists()


def test_a_check_asks_for_more_only_where_in_doubt(measured) -> None:
    _, references = measured
    with pytest.raises(Lacking) as lacking:
        gate(LARGE, references, {})
    first = [
        (n, first_seed(LARGE) + i)
        for n in suite.runs()
        for i in (0, 1)
        if n in MUTATIONS[LARGE].measured
    ]
    assert sorted(lacking.value.tasks) == sorted(first)
    outcomes = gate(LARGE, references, numbers())
    assert {o.name for o in outcomes} == set(MUTATIONS[LARGE].measured)
    assert all(o.verdict == "moved" for o in outcomes)


def test_what_is_trained_is_not_trained_again(measured) -> None:
    assert training.missing(80, 20, [LARGE, SMALL]) == []
    [(fault, tasks)] = training.missing(81, 20, [LARGE])
    assert fault == UNCHANGED
    assert tasks == [(name, 80) for name in suite.runs()]
    assert {f for f, _ in training.missing(80, 21, [LARGE, SMALL])} == {LARGE, SMALL}


def test_a_fault_is_what_its_helpers_are_too() -> None:
    found = trials.source(MUTATIONS["labels-shifted-in-1-percent"].plant)
    for used in ("labels_shifted_in_1_percent", "shift_labels", "change_dataset"):
        assert found.count(f"def {used}(") == 1
    assert "def change_net(" not in found


def test_real_checks_of_another_reference_do_not_count(measured) -> None:
    here = trials.reference_identity()
    rows = [(i, "FC", 2_000_000, 2, 0.1, 0.4, "within", 60.0) for i in (0, 1)]
    append(trials.CHECKS, (*rows[0], "another"), (*rows[1], here))
    assert list(trials.checks_made()["check"]) == [1]
    assert "an alarm in 0 of 1" in text.checks(trials.checks_made())[1]


def test_no_two_faults_share_seeds() -> None:
    starts = {first_seed(fault) for fault in mutations.MUTATIONS}
    assert len(starts) == len(mutations.MUTATIONS)
    assert min(starts) > 5_000_000


def test_reference_and_new_numbers_are_disjoint_in_a_resample_too() -> None:
    rng = np.random.default_rng(0)
    old, new = resampling.draw(rng.integers(80, size=80), 40, 200, rng)
    assert (old.shape, new.shape) == ((200, 40), (200, 16))
    assert not any(set(a) & set(b) for a, b in zip(old, new, strict=True))


def test_alarms_are_as_rare_as_promised_and_a_shifted_reference_is_one(monkeypatch) -> None:
    monkeypatch.setattr(resampling, "CHECKS", 2_000)
    monkeypatch.setattr(resampling, "RESAMPLES", 20)
    rng = np.random.default_rng(0)
    pool = {name: rng.standard_normal(120) for name in "ab"}
    rate, each = resampling.alarms(pool, rng, count=40)
    assert 0.001 < rate.count / rate.of < 0.02
    assert rate.low < rate.count / rate.of < rate.high
    assert max(each.values()) <= rate.count / rate.of
    shifted = {name: Reference(tuple(rng.standard_normal(40) + 5)) for name in pool}
    assert resampling.alarms(pool, rng, shifted)[0].count == 2_000


def test_the_power_of_shifts_is_near_what_is_stated_for_normal_numbers() -> None:
    rng = np.random.default_rng(0)
    references = {"a": Reference(tuple(rng.standard_normal(40)))}
    found = resampling.power(references, {"a": rng.standard_normal(4_000)}, rng)["a"]
    assert 0.85 < min(found[1.0], found[-1.0]) <= 1
    assert found[0.5] < found[1.0] < found[1.5]
    assert found[-0.5] < found[-1.0] < found[-1.5]
    assert found[0.5] == pytest.approx(
        Design(0.01, 1, 40).power(0.5 * Design(0.01, 1, 40).minimum_detectable_effect()), abs=0.2
    )
