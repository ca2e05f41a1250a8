"""The ablation: each change trains what it says, and the page compares it with no change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks import ablation, measurements
from benchmarks.ablation import Case
from benchmarks.ablation_page import page
from benchmarks.ablation_recipes import (
    BASE,
    CHANGES,
    RATES,
    Recipe,
    build,
    fronts,
    quantise,
    stored_bytes,
    train,
)
from benchmarks.ablation_scores import Data, Score
from benchmarks.ablation_weights import Weights
from benchmarks.ablation_weights import build as build_weights
from benchmarks.ablation_weights import quantise as quantise_weights
from entries.packed import Chosen, pack, unpack
from subspace_bench.datasets.loading import load as load_dataset
from subspace_bench.models import parameter_count


@pytest.fixture(scope="module")
def data() -> Data:
    return fronts(load_dataset("mnist-5k"))


SMALL = {"width": 30}


@pytest.mark.parametrize(
    ("recipe", "stored"),
    [
        (Recipe("fastfood", stages=3, **SMALL), 80),
        (Recipe("fastfood", stages=3, bits=8, **SMALL), 64),
        (Recipe("hashed", constant=True, average=True, **SMALL), 80),
        (Recipe("hashed", bits=8, tried=2, **SMALL), 25),
        (Recipe("hashed", top=0.5, normalise=True, front="pixels", **SMALL), 80),
        (Recipe("hashed", layers="conv"), 80),
        (Recipe("fastfood", stages=3, layers="mean", augmented=True), 80),
    ],
)
def test_each_part_trains(data: Data, recipe: Recipe, stored: int) -> None:
    outcome = train(recipe, 20, 0.2, seed=0, epochs=6, data=data)
    assert outcome.accuracy > 20
    assert stored_bytes(recipe, 20) == stored
    assert train(recipe, 20, 0.2, seed=0, epochs=6, data=data) == outcome


@pytest.mark.parametrize(
    ("recipe", "stored"),
    [
        (Weights(narrower=2), 8_000),
        (Weights(narrower=2, front="pixels", augmented=False, bits=8), 6_004),
        (Weights(narrower=2, front="deskewed", mean=True, penalty=False, origin=0.5), 8_000),
    ],
)
def test_weights_train(data: Data, recipe: Weights, stored: int) -> None:
    assert stored_bytes(recipe, 2_000) == stored
    assert train(recipe, 2_000, 0.008, seed=0, epochs=6, data=data).accuracy > 60


def test_a_narrower_net_has_fewer_weights_and_rounding_keeps_their_places() -> None:
    whole, half = (build_weights(Weights(narrower=n), 12, 0).net for n in (1, 2))
    assert 2 * parameter_count(half) < parameter_count(whole)
    net = build_weights(Weights(), 3, 0)
    count = parameter_count(net.net)
    for values, rounded in (([0.4, -1.0, 0.9], [0, -1, 1]), ([-1.0, 0.0, 0.9], [-1, 0, 1])):
        net.packed.copy_(pack(torch.tensor(values), torch.arange(3)))
        quantise_weights(net, 2)
        assert unpack(net.packed, count)[:3].tolist() == rounded


def test_oriented_gradients_help(data: Data) -> None:
    oriented, pixels = (
        train(Recipe("hashed", front=front), 30, 0.2, 0, 4, data).accuracy
        for front in ("oriented", "pixels")
    )
    assert oriented > pixels + 10


@pytest.mark.parametrize("recipe", [Recipe("hashed"), Recipe("fastfood", stages=2)])
def test_rounded_coordinates_have_few_values(recipe: Recipe) -> None:
    net = build(replace(recipe, width=10), 16, 12, seed=0)
    values = torch.linspace(-1, 0.9, 12)
    if isinstance(net, Chosen):
        net.packed.copy_(pack(values, torch.arange(12)))
    else:
        net.omega.data.copy_(values)
    quantise(net, 2)
    rounded = unpack(net.packed, 12) if isinstance(net, Chosen) else net.omega.detach()
    torch.testing.assert_close(rounded, values.round())


def test_the_page_shows_differences_to_no_change() -> None:
    rows = [
        (Case("final", d, change, 0.1, seed), Score(90.0 + seed + (change == BASE), 9.0))
        for d, changes in CHANGES.items()
        for change in changes
        for seed in range(5)
    ]
    frame = pd.DataFrame([{**vars(case), **vars(score)} for case, score in rows])
    made = page(measurements.Measurements(frame.astype(str), frame, {}))
    table = made.tables["100"].set_index("change")
    assert table.loc[BASE, "difference, points"] == ""
    others = table.drop(index=BASE)["difference, points"]
    assert others.str.startswith("-1.00 (-").all()


def test_a_second_call_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Data
) -> None:
    calls: list[Case] = []

    def score(case: Case, _: Data) -> Score:
        calls.append(case)
        return Score(90.0 - abs(case.rate - RATES[case.d][1]))

    monkeypatch.setattr(ablation, "train", score)
    monkeypatch.setattr(ablation, "fronts", lambda _: data)
    monkeypatch.setattr(ablation, "load_or_embedded", lambda: load_dataset("mnist-5k"))
    ablation.measure(tmp_path)
    trained = len(calls)
    finals = [case for case in calls if case.stage == "final"]
    assert all(case.rate == RATES[case.d][1] for case in finals)
    ablation.measure(tmp_path)
    assert len(calls) == trained
