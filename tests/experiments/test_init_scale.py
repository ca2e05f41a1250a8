"""Which initial σ fits a published curve."""

from __future__ import annotations

import math

import pytest
from flat_records import records

from subspace_bench.experiments import Evidence, Plan
from subspace_bench.experiments.init_scale import PublishedCurve, measure_fit, table
from subspace_bench.training import presets

NARROW, WIDE = presets.lite("mlp-16"), presets.lite("mlp-32")
STEPS = list(range(0, 2_201, 100))
LIKE_WIDE = PublishedCurve("conv", 30, (STEPS, [90.1] * 23), NARROW, WIDE)
LIKE_NARROW = PublishedCurve("conv", 100, (STEPS, [math.nan] + [80.1] * 22), NARROW, WIDE)
ALONE = PublishedCurve("fc", 30, (STEPS, [85.0] * 23), NARROW)
CURVES = [LIKE_WIDE, LIKE_NARROW, ALONE]


@pytest.fixture
def evidence() -> Evidence:
    return Evidence(
        Plan(), records({NARROW: [80.0, 80.5, 79.5, 80.2], WIDE: [90.0, 90.5, 89.5, 90.2]})
    )


def test_a_sigma_fits_if_the_published_curve_is_one_of_its_runs(evidence: Evidence) -> None:
    one, two, three = (measure_fit(curve, evidence) for curve in CURVES)
    assert one is not None
    assert two is not None
    assert three is not None
    assert one.narrow == pytest.approx(10.05)
    assert one.gain > one.chance
    assert two.gain < two.chance
    assert three.narrow > three.chance_narrow[-1] == pytest.approx(2 / 3 + 0.0667, abs=1e-3)


def test_table_shows_which_sigma_fits_and_whether_the_wide_one_is_closer(
    evidence: Evidence,
) -> None:
    frame = table(CURVES, evidence, precision=0.3)
    assert list(frame["fits"]) == ["no", "yes", "no"]
    assert list(frame["fits, σ = 0.01"]) == ["yes", "no", "—"]
    assert list(frame["closer"]) == ["yes", "no", "—"]


def test_curves_with_fewer_than_two_seeds_are_omitted() -> None:
    evidence = Evidence(Plan(), records({NARROW: [80.0, 80.5], WIDE: [90.0]}))
    assert measure_fit(LIKE_WIDE, evidence) is None
    assert list(table(CURVES, evidence, 0.3)["net"]) == ["fc"]
