"""The rates of projectors: picked from held-out records, or said not to be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from subspace_bench.experiments import Evidence, Plan
from subspace_bench.experiments import projector_accuracy as table
from subspace_bench.records.committed import committed_store
from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import MEASURED, Record, Store

FULL = Plan("full")


def kept(store: Store, run: RunConfig, accuracy: float | None) -> None:
    """A record of a run, diverged where it has no accuracy."""
    curve = [] if accuracy is None else [[run.protocol.last_score, accuracy, 0.1]]
    facts = dict.fromkeys(MEASURED, 1.0)
    store.put(Record(run, {"accuracy": accuracy, "curve": curve}, facts))


@pytest.fixture
def evidence(tmp_path) -> Evidence:
    """Held-out runs of `hashed` at d = 300, of which 0.1 is the best and 0.4 and more diverged."""
    store = Store(tmp_path)
    scores = {0.05: 90.0, 0.1: 92.0, 0.2: 91.0, 0.4: None, 0.8: None}
    for lr, run in table.tried("hashed", 300).items():
        kept(store, run, scores[lr])
    return Evidence(FULL, store, None)


def test_picked_rates_are_the_best_of_the_committed_held_out_records() -> None:
    evidence = Evidence(FULL, committed_store(), None)
    for name, dim in table.cells():
        best, picked = table.best(evidence, name, dim), table.rate(name, dim)
        assert picked is None or picked in table.RATES
        assert best is None or picked == best, (name, dim)


def test_the_best_rate_needs_all_runs(evidence, tmp_path) -> None:
    assert table.best(evidence, "hashed", 300) == 0.1
    assert table.best(evidence, "hashed", 1_000) is None
    assert table.best(Evidence(FULL, None, None), "hashed", 300) is None


@pytest.mark.parametrize(
    ("picked", "said"),
    [
        ({}, "not picked"),
        ({"hashed": {"300": 0.1}}, "0.1"),
        ({"hashed": {"300": 0.2}}, "0.2, but 0.1 is better held out"),
        ({"hashed": {"300": 0.05}}, "0.05, but 0.1 is better held out (edge of the grid)"),
    ],
)
def test_the_page_says_how_a_rate_stands(picked, said, evidence, monkeypatch) -> None:
    monkeypatch.setattr(table, "picked", lambda: picked)
    frame = table.page(evidence).frame
    row = frame[(frame.projector == "hashed") & (frame.d == "300")].iloc[0]
    assert row["peak rate"] == said
    assert row["reference"] == "not run"


def test_only_picked_rates_are_trained_on_all_images(monkeypatch) -> None:
    monkeypatch.setattr(table, "picked", lambda: {"hashed": {"300": 0.1}})
    runs = table.runs(FULL)
    finals = [run for run in runs if run.protocol.score_on != "held-out"]
    assert len(runs) == len(table.RATES) * len(table.cells()) + FULL.seeds
    assert finals == [replace(table.final("hashed", 300), seed=s) for s in range(FULL.seeds)]
    assert table.runs(Plan("post")) == []
