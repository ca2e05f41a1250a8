"""The page of Li et al.'s intrinsic dimensions, from made-up trainings on their own curve."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.intrinsic_dimension_page import COLUMNS, LENGTH, SEARCH, describe, page
from benchmarks.li2018 import NETS, Case, initialise
from benchmarks.measurements import Measurements
from subspace_bench.dimension.result import IntrinsicDimension
from subspace_bench.dimension.search import Estimate
from subspace_bench.experiments import published


@pytest.fixture
def measurements() -> Measurements:
    theirs = published.load("li2018")["fc"]
    rng = np.random.default_rng(0)
    rows = [(SEARCH, "mnist", "fc", "hashed", False, 10, "plain", 199_210, s, 98.1, 199_210, 9.0)
            for s in range(3)]  # fmt: skip
    for seed, dim in enumerate(np.geomspace(600, 1_200, 12).round().astype(int)):
        mean = np.interp(np.log(dim), np.log(theirs["d"]), theirs["accuracy"])
        score = round(mean + rng.normal(0, 0.1), 2)
        rows.append(
            (SEARCH, "mnist", "fc", "hashed", False, 10, "subspace", dim, seed, score, 199_210, 9.0)
        )
    for epochs, scores in ((10, (89.0, 89.2, 89.4)), (100, (89.5, 89.7, 89.9))):
        for seed, score in enumerate(scores):
            rows.append(
                (
                    LENGTH,
                    "mnist",
                    "fc",
                    "hashed",
                    False,
                    epochs,
                    "subspace",
                    750,
                    seed,
                    score,
                    199_210,
                    9.0,
                )
            )
    numbers = pd.DataFrame(rows, columns=COLUMNS)
    return Measurements(numbers.astype(str), numbers, {"threshold": 90.0, "trainings": 20})


def test_the_dimension_is_where_the_curve_crosses(measurements: Measurements) -> None:
    found = page(measurements)
    line = found.tables["nets"].iloc[0]
    assert 790 <= int(line["d_int90"].split()[0].replace(",", "")) <= 850
    assert line["d_int90, published"] == "750"
    assert int(line["local"].split()[0].replace(",", "")) < 750  # 90% of 98.1 is 88.3
    assert list(found.figures) == ["intrinsic-dimension-fc"]


def test_the_lengths_are_compared(measurements: Measurements) -> None:
    line = page(measurements).tables["lengths"].iloc[0]
    assert (line["net"], line["d"], line["difference"]) == ("fc", "750", "-0.50")


@pytest.mark.parametrize("net", NETS)
def test_initial_weights_have_the_variance_of_their_fan_in(net: str) -> None:
    torch.manual_seed(0)
    module = initialise(NETS[net]())
    x = torch.randn(64, 1, 28, 28)
    for name, parameter in module.named_parameters():
        assert (parameter == 0).all() == name.endswith("bias")
    assert 0.1 < module(x).std() < 10


def test_cases_have_names_of_their_own() -> None:
    assert Case("fc").name != Case("fc", shuffled=True).name != Case("fc", epochs=100).name


@pytest.mark.parametrize(
    ("dimension", "low", "high", "shown"),
    [
        (150, 120, None, "150 [120 to D]"),
        (150, 80, 200, "150 [below 100 to 200]"),
        (50, 1, 90, "below 100"),
        (None, 900, None, "> D [900 to D]"),
    ],
)
def test_a_dimension_below_all_trainings_is_a_bound(dimension, low, high, shown) -> None:
    curve = pd.DataFrame({"d": [100, 900], "seed": [0, 1], "score": [80.0, 95.0]})
    estimate = Estimate(dimension, low, high)
    found = IntrinsicDimension("a", 1_000, "hashed", 90.0, "", True, (98.0,), curve, estimate)
    assert describe(found) == shown
