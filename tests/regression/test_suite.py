"""The training of reference runs, and what becomes of its records."""

from __future__ import annotations

from pathlib import Path

import pytest
from stored_record import FACTS, RESULT, RUN

from subspace_bench.datasets.dataset import Dataset
from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Record, Store
from subspace_bench.regression import suite
from subspace_bench.training.executor import Event

DIVERGED = {**RESULT, "diverged": 12, "accuracy_end": None, "curve": [[1, 10.0, 2.3]]}
TASKS = [("net", seed) for seed in range(4)]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds that were trained: seed 2 diverges and seed 3 fails."""
    seeds: list[int] = []

    def train_all(missing: list[RunConfig], store: Store, *_: object) -> list[Event[RunConfig]]:
        seeds.extend(run.seed for run in missing)
        for run in missing:
            if run.seed < 3:
                store.put(Record(run, DIVERGED if run.seed == 2 else RESULT, FACTS))
        return [Event("failed", run, ValueError("no space")) for run in missing if run.seed == 3]

    monkeypatch.setattr(suite, "train_all", train_all)
    monkeypatch.setattr(suite, "runs", lambda dataset: {"net": RUN})
    return seeds


def test_accuracies_or_why_there_are_none(digits: Dataset, trained: list[int]) -> None:
    values = suite.Trainer(digits, None, 1, print)(TASKS)
    assert [values[task] for task in TASKS[:2]] == [91.25, 91.25]
    assert "diverged" in str(values[TASKS[2]])
    assert "no space" in str(values[TASKS[3]])
    assert trained == [0, 1, 2, 3]


def test_only_with_a_folder_are_records_kept(
    digits: Dataset, trained: list[int], tmp_path: Path
) -> None:
    trainer = suite.Trainer(digits, None, 1, print)
    expected = trainer(TASKS, tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 3
    trained.clear()
    assert trainer(TASKS, tmp_path) == expected
    assert trained == [3]
    trained.clear()
    trainer(TASKS)
    assert trained == [0, 1, 2, 3]
