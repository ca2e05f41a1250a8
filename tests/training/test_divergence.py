"""A run that diverges ends with a record that says so, however NaN shows itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from subspace_bench.records.config import RunConfig, TrainingConfig
from subspace_bench.records.store import Store
from subspace_bench.training.loop import train

ADAM = TrainingConfig(steps=25, batch=16, lr=1e20, score_first=10, score_every=10)
SGD = replace(ADAM, optimizer="sgd", momentum=0.9)
NET = RunConfig("mlp-16", "default", SGD, dataset="mnist-5k")
RUNS = {
    "full space": NET,
    "a projector that refuses NaN": replace(NET, dim=9, projector="gaussian"),
    "one pass": replace(NET, dim=9, projector="orthonormal", origin="zero", protocol=ADAM),
    "float16": replace(NET, dtype="float16", protocol=replace(SGD, lr=1e4)),
    "an infinite rate": replace(
        NET, dim=9, projector="orthonormal", origin="zero", protocol=replace(ADAM, lr=1e38)
    ),
    "a step that overflows": replace(NET, protocol=replace(ADAM, lr=1e38)),
    "in the last update": replace(
        NET, protocol=replace(SGD, lr=1e38, weight_decay=1e3, steps=1, score_first=1)
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_the_record_says_so(name: str, digits, tmp_path: Path) -> None:
    record = train(RUNS[name], digits)
    assert record.result["diverged"] <= RUNS[name].protocol.steps
    assert record.result["accuracy_end"] is None
    store = Store(tmp_path)
    store.put(record)
    assert store.get(record.run) == record
