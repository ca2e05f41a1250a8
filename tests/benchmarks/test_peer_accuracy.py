"""Accuracy beside peft: the protocol's stages, resuming, and the trainings themselves."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks import peer_accuracy
from benchmarks.held_out import Split, batches, normalised, split
from benchmarks.peer_accuracy import METHODS, Case, Score, train
from benchmarks.peer_accuracy_table import REFERENCE, finding, table
from subspace_bench import models
from subspace_bench.datasets.dataset import Dataset


@pytest.fixture
def data() -> Split:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (150, 28, 28), generator=generator).byte()
    labels = torch.randint(10, (150,), generator=generator)
    tiny = Dataset("tiny", images[:100], labels[:100], images[100:], labels[100:], "", "")
    return split(tiny, normalised)


def test_held_out_images_are_not_trained_on(data: Split) -> None:
    assert (len(data.train[1]), len(data.held_out[1]), len(data.test[1])) == (80, 20, 50)
    seen = list(batches(80, peer_accuracy.BATCH, 2, 0, partial=True))
    assert sorted(torch.cat(seen).tolist()) == sorted([*range(80), *range(80)])


def test_a_training_is_scored_on_the_images_of_its_stage(data: Split) -> None:
    case = Case(REFERENCE, "select", 0.1, 0, 1)
    on_held_out, on_test = train(case, data), train(dataclasses.replace(case, stage="final"), data)
    assert on_held_out.trained == 1_000
    assert on_held_out.accuracy * 20 % 100 == pytest.approx(0)
    assert on_test.accuracy * 50 % 100 == pytest.approx(0)
    data = dataclasses.replace(data, test=data.held_out)
    assert train(dataclasses.replace(case, stage="final"), data).accuracy == on_held_out.accuracy


def test_a_diverged_training_scores_zero(data: Split) -> None:
    data.train[0].fill_(torch.nan)
    for epochs in (1, 2):  # NaN is seen in the loss, and in ω before the second step
        assert train(Case(REFERENCE, "select", 0.1, 0, epochs), data).accuracy == 0


def test_stages_follow_the_protocol_and_resume(tmp_path: Path, data: Split, monkeypatch) -> None:
    best = {REFERENCE: 0.03, "LoRA, r = 1": 0.05}
    trained: list[Case] = []

    def fake(case: Case, data: Split) -> Score:
        trained.append(case)
        return Score(90 - abs(case.rate / best[case.method] - 1), 1_000, 0.0)

    monkeypatch.setattr(peer_accuracy, "METHODS", {name: METHODS[name] for name in best})
    monkeypatch.setattr(peer_accuracy, "train", fake)
    monkeypatch.setattr(peer_accuracy, "load_or_embedded", lambda: None)
    monkeypatch.setattr(peer_accuracy, "split", lambda dataset, prepare: data)
    monkeypatch.setattr(peer_accuracy, "_peft_version", lambda: "0")
    peer_accuracy.measure(tmp_path)
    for method in best:
        mine = [case for case in trained if case.method == method]
        rates = sorted({case.rate for case in mine if case.stage == "select"})
        (picked,) = {case.rate for case in mine if case.stage == "final"}
        assert rates[0] < picked < rates[-1]
        assert {case.seed for case in mine if case.stage == "final"} == {*range(10, 18)}
        assert {case.epochs for case in mine if case.stage == "long"} == {20}
    assert len(set(trained)) == len(trained)
    before = (tmp_path / f"{peer_accuracy.NAME}.csv").read_bytes()
    monkeypatch.setattr(peer_accuracy, "train", None)  # nothing is trained again
    peer_accuracy.measure(tmp_path)
    assert (tmp_path / f"{peer_accuracy.NAME}.csv").read_bytes() == before


def test_the_table_pairs_seeds_and_shows_what_is_missing() -> None:
    def row(method: str, stage: str, rate: float, seed: int, accuracy: float) -> dict[str, object]:
        labels = {"method": method, "stage": stage, "rate": rate, "seed": seed, "trained": 1_000}
        return labels | {"accuracy": accuracy}

    rows = [row(REFERENCE, "select", 2.0**-i, seed, 90) for i in (1, 2, 3) for seed in (0, 1)]
    rows += [row(REFERENCE, "final", 0.25, seed, 91 + seed) for seed in (10, 11, 12)]
    rows += [row(REFERENCE, "long", 0.25, seed, 90.5) for seed in (0, 1)]
    rows += [row("other", "select", 0.25, 0, 90)]
    rows += [row("other", "final", 0.25, seed, 92 + seed) for seed in (10, 11)]
    ours, other = table(pd.DataFrame(rows)).to_dict("records")
    assert (ours["rates tried"], ours["rate"]) == ("0.125 to 0.5", "0.25")
    assert ours["test accuracy"].startswith("102.00 ± ")
    assert ours["twice the epochs, held out"] == "+0.50"
    assert other["minus hashed"] == "+1.00 [+1.00, +1.00]"
    assert other["twice the epochs, held out"] == "not run"
    assert "other: 102.50" in finding(pd.DataFrame(rows))
    assert finding(pd.DataFrame(rows[:6])) == ""


@pytest.mark.slow
def test_methods_train_about_a_thousand_numbers() -> None:
    pytest.importorskip("peft")
    for name, method in METHODS.items():
        net = method.build(models.build("fc"), 0)
        trained = sum(p.numel() for p in net.parameters() if p.requires_grad)
        assert (trained == 1_594) if name == "LoRA, r = 1" else (984 <= trained <= 1_000)
