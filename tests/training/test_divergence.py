"""A run that diverges ends with a record that says so, however NaN shows itself."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from subspace_bench.records.config import RunConfig, TrainingConfig
from subspace_bench.records.store import Store
from subspace_bench.training import loop
from subspace_bench.training.loop import evaluate, train

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


def test_an_output_that_overflows_gives_no_accuracy() -> None:
    net, labels = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).half(), torch.arange(10)
    images = torch.full((10, 28, 28), 200, dtype=torch.uint8)
    assert 0 <= evaluate(net, images, labels, "unit") <= 100
    with torch.no_grad():
        net[1].weight.fill_(1_000.0)
    assert math.isnan(evaluate(net, images, labels, "unit"))


def test_a_run_whose_outputs_overflow_has_diverged(digits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "evaluate", lambda *_: math.nan)
    run = next(iter(RUNS.values()))
    result = train(replace(run, protocol=replace(run.protocol, lr=1e-3)), digits).result
    assert result["diverged"] == run.protocol.score_first
    assert (result["curve"], result["accuracy_end"]) == ([], None)
