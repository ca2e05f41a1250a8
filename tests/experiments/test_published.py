"""The published numbers: complete, consistent with each other, and each with a source."""

from __future__ import annotations

import math
from typing import Any

import pytest

from subspace_bench import models
from subspace_bench.experiments import published
from subspace_bench.models import tutorials
from subspace_bench.records.config import TrainingConfig
from subspace_bench.training import presets

POST = published.load("post")
PROTOCOLS = presets.protocols()
KEYS = {
    "source", "optimizer", "lr", "betas", "eps", "momentum", "nesterov", "weight_decay", "bias_lr",
    "schedule", "gamma", "power", "batch", "sampling", "steps", "steps_per_epoch", "scale", "train",
    "init",
}  # fmt: skip
TRAINED_ON = {"all": 60_000, "after-5000": 55_000, "first-50000": 50_000}
CURVES = [
    POST["subspace"]["curves"],
    *({"steps": POST["ultra-small"]["curves"]["steps"], **POST["ultra-small"]["curves"][net]}
      for net in ("conv", "fc")),
]  # fmt: skip


@pytest.mark.parametrize("part", ["tutorials", "mnist-lite", "subspace", "ultra-small", "scoring"])
def test_every_part_has_a_source(part: str) -> None:
    assert POST[part]["source"]


def test_nine_tutorials_and_one_more() -> None:
    rows = POST["tutorials"]["rows"]
    assert [row["id"] for row in rows] == [str(i) for i in range(1, 10)]
    extra = POST["tutorials"]["extra"]
    assert extra["id"] == "4b"
    for row in [*rows, extra]:
        assert row["model"] == f"tutorial-{row['id']}"
        assert row["code"]
        assert row["structure"]
        assert 90 <= row["low"] <= row["high"] <= 100
        assert row["unit"] in (0.0, 0.01, 0.1, 1.0)  # 0: the ends say it all


def test_four_of_nine_counts_are_wrong_and_explained() -> None:
    wrong = {r["id"] for r in POST["tutorials"]["rows"] if sum(r["layers"]) != r["free"]}
    assert wrong == {"3", "4", "6", "9"}
    assert {r["id"] for r in POST["tutorials"]["rows"] if r["why"]} == wrong
    for row in POST["tutorials"]["rows"]:
        if row["id"] in wrong:
            assert models.hypothetical_count(row["model"]) == row["free"]


def test_layers_add_up_elsewhere() -> None:
    for row in POST["mnist-lite"]["rows"]:
        assert sum(row["layers"]) == row["free"]
    assert sum(POST["subspace"]["layers"]) == POST["subspace"]["rows"][0]["free"]
    assert sum(POST["tutorials"]["extra"]["layers"]) == 59_933
    assert {k: sum(v) for k, v in POST["ultra-small"]["layers"].items()} == {
        "conv": 21_840,
        "fc": 199_210,
    }


def test_printed_columns_agree() -> None:
    for row in POST["subspace"]["rows"]:
        assert abs(row["notebook"] - row["accuracy"]) < 0.1
    assert (
        round(100 * 9875 / POST["scoring"]["draws"], 2) == POST["subspace"]["rows"][0]["notebook"]
    )


@pytest.mark.parametrize("curves", CURVES)
def test_curves_have_a_value_for_every_step(curves: dict[str, Any]) -> None:
    steps = curves["steps"]
    assert steps == sorted(set(steps))
    assert len(steps) == 23
    for name, values in curves.items():
        assert len(values) == len(steps)
        if name != "steps":
            assert all(math.isnan(v) or 5 < v < 100 for v in values)
            assert sum(map(math.isnan, values)) < 8


@pytest.mark.parametrize("net", ["conv", "fc"])
def test_final_accuracies_are_the_ends_of_the_curves(net: str) -> None:
    final, curves = POST["ultra-small"]["final"][net], POST["ultra-small"]["curves"][net]
    assert list(final) == ["d3", "d10", "d30", "d100", "d300", "d1000", "D"]
    assert set(curves) == set(final) - {"d3", "d10"}
    for name, values in curves.items():
        assert final[name] == values[-1]
    reading = POST["ultra-small"]["reading"]["precision"]
    assert abs(POST["ultra-small"]["caption"][net] - final["D"]) <= reading + 1e-9


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_are_complete_and_their_lengths_follow(name: str) -> None:
    content = PROTOCOLS[name]
    assert set(content) == KEYS
    assert content["optimizer"] in ("adam", "sgd")
    assert content["scale"] in ("unit", "standard", "256")
    per_epoch = TRAINED_ON[content["train"]] / content["batch"]
    rounding = math.ceil if content["sampling"] == "epochs" else math.floor
    assert content["steps_per_epoch"] == rounding(per_epoch)
    ours = {"score_first", "score_every", "score_on"}
    assert set(TrainingConfig.__dataclass_fields__) - set(content) == ours
    if content["schedule"] == "constant":
        assert content["gamma"] == content["power"] == 0
    if content["optimizer"] == "adam":
        assert content["momentum"] == content["weight_decay"] == 0


def test_protocols_cover_all_models() -> None:
    assert set(PROTOCOLS) == {*tutorials.TUTORIALS, "post", "mnist-lite"}
    assert set(PROTOCOLS["post"]["init"]) == {"conv", "fc"}


def test_the_posts_loop_has_one_update_more_than_its_total() -> None:
    batch, images = POST["scoring"]["batch"], POST["scoring"]["images_trained_on"]
    lengths = {"hundred-epochs": (PROTOCOLS["post"]["steps"], 100)}
    lengths["ten-epochs"] = PROTOCOLS["mnist-lite"]["steps"], 10
    for name, (steps, epochs) in lengths.items():
        assert steps == images * epochs // batch + 1
        every = POST["scoring"]["every"]
        assert POST["scoring"]["reported"][name] == (steps - 1) // every * every + 1
