"""The page of error rates, from trials with known effects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from subspace_bench.common.errors import UserError
from subspace_bench.regression import suite
from subspace_bench.regression.reference import Reference, load, save
from subspace_bench.regression.sequential import CHANGED, NO_CHANGE, Design
from subspace_bench.regression.validation import page, resampling, training, trials
from subspace_bench.regression.validation.mutations import MUTATIONS
from subspace_bench.regression.validation.trials import EFFECT, UNCHANGED, MissingTrials, first_seed
from subspace_bench.reporting.render import markdown

ROOT = Path(__file__).parents[2]
SD = 0.3
ALL_MUTATIONS = list(MUTATIONS)
LARGE, SMALL, FAILING = ALL_MUTATIONS[:3]


@pytest.fixture
def measured(tmp_path, monkeypatch, digits):
    """References, a pool and three mutations: of −3 points, of 0, and one that fails runs."""
    for name in ("RUNS", "CHECKS", "REFERENCE"):
        monkeypatch.setattr(trials, name, tmp_path / getattr(trials, name).name)
    for mutation in ALL_MUTATIONS[3:]:
        monkeypatch.delitem(MUTATIONS, mutation)
    for name, few in (("CHECKS", 60), ("RESAMPLES", 4)):
        monkeypatch.setattr(resampling, name, few)
    monkeypatch.setattr(suite, "require_identity", lambda *args: None)
    for module in (trials, page):
        monkeypatch.setattr(module, "load_or_embedded", lambda: digits)
    monkeypatch.setattr(page, "DESIGNS", ((40, 16),))
    trials.trial_digest.cache_clear()
    rng = np.random.default_rng(0)
    runs = list(suite.runs())
    references = {n: Reference(tuple((95 + SD * rng.standard_normal(40)).tolist())) for n in runs}
    save(trials.REFERENCE, references)
    pool = [(UNCHANGED, n, s, 95 + SD * rng.standard_normal()) for n in runs for s in range(40, 80)]
    rows = [
        (mutation, name, seed, 95 + shift + SD * rng.standard_normal())
        for mutation, shift in {LARGE: -3.0, SMALL: 0.0}.items()
        for name in MUTATIONS[mutation].measured
        for i in (*range(16), *range(EFFECT, EFFECT + 20))
        for seed in [first_seed(mutation) + i]
    ]
    failures = [
        (FAILING, n, first_seed(FAILING) + i, "ValueError: no")
        for n in MUTATIONS[FAILING].measured for i in (0, 1, EFFECT, EFFECT + 1)
    ]  # fmt: skip
    stale = [(LARGE, n, 7, 0.0, "0" * 8) for n in MUTATIONS[LARGE].measured]
    current = [(*row, trials.trial_digest(row[0], row[1])) for row in (*pool, *rows, *failures)]
    columns = ("mutation", "run", "seed", "accuracy", "digest")
    table = trials.runs_table()
    table.put(*(dict(zip(columns, map(str, row), strict=True)) for row in (*stale, *current)))
    check = {"check": 1, "run": "FC", "first seed": 2_001_000, "n": 2, "difference": 0.1, "p": 0.5,
             "verdict": NO_CHANGE, "seconds": 60.0}  # fmt: skip
    trials.checks_table().put({**check, "digest": trials.reference_digest()})
    yield references
    trials.trial_digest.cache_clear()


@pytest.mark.slow
def test_the_page_separates_detected_from_missed_and_large_from_small(measured) -> None:
    result = page.build()
    table = result.tables["mutations"].set_index("mutation")
    assert list(table.index) == [SMALL, LARGE, FAILING]  # the missed first
    assert table.check[LARGE].startswith("detected: ")
    assert table.check[SMALL].startswith("missed: ")
    assert table.check[FAILING].startswith("detected: ")
    assert float(table["effect, points"][LARGE].split()[0]) == pytest.approx(-3, abs=0.2)
    assert float(table["relative effect"][SMALL]) < 1 < float(table["relative effect"][LARGE])
    assert table["relative effect"][FAILING] == ""
    assert result.values["missed"] == "none"
    assert result.values["pool_size"] == 40
    for name, expected in [("detected", "1 of 1"), ("small_detected", "0 of 1"),
                           ("failing_detected", "1 of 1")]:  # fmt: skip
        assert result.values[name].startswith(expected)
    assert LARGE in markdown(result)
    assert result.figures["regression"].draw().axes


def test_a_check_needs_more_trials_only_while_inconclusive(measured) -> None:
    with pytest.raises(MissingTrials) as missing:
        trials.check_mutation(LARGE, measured, {})
    first = [(n, first_seed(LARGE) + i) for n in MUTATIONS[LARGE].measured for i in (0, 1)]
    assert sorted(missing.value.tasks) == sorted(first)
    outcomes = trials.check_mutation(LARGE, measured, trials.accuracies())
    assert {o.name for o in outcomes} == set(MUTATIONS[LARGE].measured)
    assert all(o.verdict == CHANGED for o in outcomes)


def test_stored_trials_are_not_trained_again(measured) -> None:
    assert training.missing_parts(80, 20, [LARGE, SMALL]) == []
    [(mutation, tasks)] = training.missing_parts(81, 20, [LARGE])
    assert mutation == UNCHANGED
    assert tasks == tuple((name, 80) for name in suite.runs())
    assert {m for m, _ in training.missing_parts(80, 21, [LARGE, SMALL])} == {LARGE, SMALL}


def test_real_checks_of_another_reference_do_not_count(measured) -> None:
    [row] = trials.checks_table().rows.values()
    trials.checks_table().put({**row, "check": 0, "verdict": CHANGED, "digest": "0" * 8})
    assert list(trials.checks_made()["check"]) == [1]
    values = page.checks_values(trials.checks_made())
    assert values["real_false_positives"].startswith("0 of 1")


def test_committed_trials_are_of_the_present_runs_and_mutations(monkeypatch, digits) -> None:
    """If not, the change of code is to be undone, or the trials are to be trained again."""
    monkeypatch.chdir(ROOT)
    references = load(trials.REFERENCE, suite.REMEDY)
    mnist = replace(digits, name="mnist", digest=references["FC"].identity["data"])
    suite.require_identity(references, mnist)
    monkeypatch.setattr(trials, "load_or_embedded", lambda: mnist)
    trials.trial_digest.cache_clear()
    stored = trials.runs_table().rows
    current = trials.accuracies()
    stale = {trial[0] for trial in stored if trial not in current}
    trials.trial_digest.cache_clear()
    assert stale == set()
    assert {m for m, _, _ in stored} == {UNCHANGED, *ALL_MUTATIONS}
    assert len(trials.checks_made()) == len(trials.checks_table().rows)


def test_no_two_mutations_share_seeds() -> None:
    starts = {first_seed(mutation) for mutation in ALL_MUTATIONS}
    assert len(starts) == len(ALL_MUTATIONS)
    assert min(starts) > 5_000_000


def test_reference_and_new_values_are_disjoint_in_a_resample() -> None:
    rng = np.random.default_rng(0)
    old, new = resampling.draw_seeds(rng.integers(80, size=80), 40, 200, rng)
    assert (old.shape, new.shape) == ((200, 40), (200, 16))
    assert not any(set(a) & set(b) for a, b in zip(old, new, strict=True))


def test_false_positives_keep_the_stated_rate_and_a_shifted_reference_fails(monkeypatch) -> None:
    monkeypatch.setattr(resampling, "CHECKS", 2_000)
    monkeypatch.setattr(resampling, "RESAMPLES", 20)
    rng = np.random.default_rng(0)
    pool = {name: rng.standard_normal(120) for name in "ab"}
    rate, each = resampling.false_positives(pool, rng, count=40)
    assert 0.001 < rate.count / rate.of < 0.02
    assert rate.low < rate.count / rate.of < rate.high
    assert max(each.values()) <= rate.count / rate.of
    shifted = {name: Reference(tuple(rng.standard_normal(40) + 5)) for name in pool}
    assert resampling.false_positives(pool, rng, shifted)[0].count == 2_000


def test_the_power_for_shifts_is_near_the_stated_one_for_normal_values() -> None:
    rng = np.random.default_rng(0)
    references = {"a": Reference(tuple(rng.standard_normal(40)))}
    shares = resampling.power(references, {"a": rng.standard_normal(4_000)}, rng)["a"]
    assert 0.85 < min(shares[1.0], shares[-1.0]) <= 1
    assert shares[0.5] < shares[1.0] < shares[1.5]
    assert shares[-0.5] < shares[-1.0] < shares[-1.5]
    design = Design(0.01, 1, 40)
    stated = design.power(0.5 * design.minimum_detectable_effect())
    assert shares[0.5] == pytest.approx(stated, abs=0.2)


@pytest.mark.parametrize(
    "table, column, cell",
    [
        *(("RUNS", "accuracy", cell) for cell in ("nan", "inf", "150", "-1", "1e308", "")),
        *(("RUNS", "seed", cell) for cell in ("", "-1", "1.5", "one", "9" * 5_000)),
        *(("RUNS", "digest", cell) for cell in ("", "another", "0" * 64)),
        *(("CHECKS", "p", cell) for cell in ("2", "nan", "text")),
        *(("CHECKS", "difference", cell) for cell in ("1e308", "inf", "text")),
        *(("CHECKS", "verdict", cell) for cell in ("", "moved")),
        *(("CHECKS", "check", cell) for cell in ("", "-1", "x")),
        *(("CHECKS", "seconds", cell) for cell in ("", "-1", "nan")),
    ],
)
def test_damaged_trials_and_checks_are_found(table, column, cell, tmp_path, monkeypatch) -> None:
    path = tmp_path / "table.csv"
    frame = pd.read_csv(ROOT / getattr(trials, table), dtype=str, keep_default_na=False)[:30]
    frame.loc[7, column] = cell
    frame.to_csv(path, index=False)
    monkeypatch.setattr(trials, table, path)
    with pytest.raises(UserError, match=r"table\.csv"):
        {"RUNS": trials.runs_table, "CHECKS": trials.checks_table}[table]()
