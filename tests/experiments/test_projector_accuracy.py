"""Learning rates are picked on held-out records; pairs of projectors are compared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from subspace_bench.experiments import Evidence, Plan
from subspace_bench.experiments import projector_accuracy as study
from subspace_bench.records.committed import committed_store
from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Record
from subspace_bench.reporting.statistics import Sample

FULL = Plan("full")


@pytest.fixture
def evidence() -> Evidence:
    """Held-out runs of `hashed` at d = 300, of which 0.1 is the best and 0.4 and more diverged."""
    scores = {0.05: 90.0, 0.1: 92.0, 0.2: 91.0, 0.4: None, 0.8: None}
    runs = study.held_out_runs("hashed", 300)
    return Evidence(FULL, [scored(run, scores[lr]) for lr, run in runs.items()])


def scored(run: RunConfig, accuracy: float | None) -> Record:
    """A record of a run, diverged if it has no accuracy."""
    curve = [] if accuracy is None else [[run.protocol.last_score, accuracy, 0.1]]
    return Record(run, {"accuracy": accuracy, "curve": curve}, {})


def test_picked_rates_are_the_best_of_the_committed_held_out_records() -> None:
    evidence = Evidence(FULL, committed_store())
    for name, dim in study.pairs():
        best, picked = study.best_rate(evidence, name, dim), study.picked_rate(name, dim)
        assert picked is None or picked in study.RATES
        assert best is None or picked == best, (name, dim)


def test_the_best_rate_needs_all_runs(evidence) -> None:
    assert study.best_rate(evidence, "hashed", 300) == 0.1
    assert study.best_rate(evidence, "hashed", 1_000) is None
    assert study.best_rate(Evidence(FULL), "hashed", 300) is None


@pytest.mark.parametrize(
    ("picked", "cell"),
    [
        ({}, "not picked"),
        ({"hashed": {"300": 0.1}}, "0.1"),
        ({"hashed": {"300": 0.2}}, "0.2, but 0.1 is better held out"),
        ({"hashed": {"300": 0.05}}, "0.05, but 0.1 is better held out (edge of the grid)"),
    ],
)
def test_rate_cell(picked, cell, evidence, monkeypatch) -> None:
    monkeypatch.setattr(study, "picked_rates", lambda: picked)
    frame = study.page(evidence).tables["accuracies"]
    row = frame[(frame.projector == "hashed") & (frame.d == "300")].iloc[0]
    assert row["peak rate"] == cell
    assert row["ours"] == "not run"


def test_only_picked_rates_are_trained_on_all_images(monkeypatch) -> None:
    monkeypatch.setattr(study, "picked_rates", lambda: {"hashed": {"300": 0.1}})
    runs = study.cases(FULL)
    finals = [run for run in runs if run.protocol.score_on != "held-out"]
    assert len(runs) == len(study.RATES) * len(study.pairs()) + FULL.seeds
    assert finals == [replace(study.final_run("hashed", 300), seed=s) for s in range(FULL.seeds)]
    assert study.cases(Plan("post")) == []


def test_only_significant_differences_are_listed() -> None:
    near = {("srht", 300): (91.0, 91.2, 90.8), ("hashed", 300): (91.1, 90.9, 91.0)}
    samples = {cell: Sample(values) for cell, values in near.items()}
    frame = study.differences(samples).set_index("d")
    assert frame.loc["300", "significant differences"] == "none"
    samples["kronecker", 300] = Sample((80.0, 80.2, 79.8))
    frame = study.differences(samples).set_index("d")
    assert frame.loc["300", "significant differences"] == "`kronecker` below all others"
    assert study.summary(samples).endswith("kronecker")
