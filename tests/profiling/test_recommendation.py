"""Derived columns, and the rule that recommends a projector."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import torch

from subspace_bench import projectors
from subspace_bench.profiling import recommendation
from subspace_bench.profiling.derived import derive, successful, with_derived
from subspace_bench.profiling.recommendation import (
    AccuracyComparison,
    accuracy_table,
    recommend,
    recommendation_table,
)
from subspace_bench.reporting.statistics import Sample

UNKNOWN = AccuracyComparison({}, {})
GOOD, GOOD_TOO, BAD = Sample((98.0, 98.1, 98.2)), Sample((98.0, 98.1, 98.1)), Sample((90.0, 90.1))


def case(projector: str, native: int, dim: int, ms: float, **changes: Any) -> dict[str, Any]:
    return {
        "projector": projector, "native": native, "dim": dim, "dtype": "float32", "status": "ok",
        "forward_ms": ms / 2, "transpose_ms": ms / 2, "resident_bytes": 1e6, "peak_bytes": 2e6,
        "read_gbs": 10.0, **changes,
    }  # fmt: skip


def measured(*rows: dict[str, Any]) -> pd.DataFrame:
    return successful(with_derived(pd.DataFrame(rows)))


def test_only_rows_of_P_that_are_nonzero_are_read_in_the_transpose() -> None:
    native, dim = 10_000, 10
    dense = derive(case("gaussian", native, dim, 2.0))
    thin = derive(case("sparse", native, dim, 2.0))
    assert dense["moved_bytes"] == 2 * (1e6 + 40) + 2 * 40_000
    assert dense["gbs"] == pytest.approx(dense["moved_bytes"] / 2e6)
    assert dense["peak_thetas"] == 50
    assert thin["moved_bytes"] == pytest.approx(2 * (1e6 + 40) + 40_000 * (1 + 1 - 0.99**10))
    columns = projectors.make("sparse", native, dim, seed=0)(torch.eye(dim))
    moved = float(columns.ne(0).any(dim=0).double().mean())
    assert moved == pytest.approx(thin["nonzero_rows"], abs=0.01)


def test_reading_P_counts_only_where_P_is_most_of_what_moves() -> None:
    large = derive(case("gaussian", 1_000, 100, 1.0, resident_bytes=4e6, read_ms=0.5))
    assert large["read_limit"] == 8.0  # 4 MB in 0.5 ms
    small = derive(case("gaussian", 10**6, 100, 1.0, resident_bytes=1e6, read_ms=0.5))
    assert small["read_limit"] == 10.0


def test_a_projector_that_is_no_longer_installed_moves_all_of_theta() -> None:
    assert derive(case("uninstalled", 100, 10, 1.0))["nonzero_rows"] == 1


def test_the_fastest_that_keeps_the_rule_wins() -> None:
    size = (10**7, 10)
    m = measured(
        case("kronecker", *size, 1.0),  # less accurate
        case("sparse", *size, 2.0),  # moves little of θ
        case("gaussian", *size, 3.0, peak_bytes=3.1 * 4e7),  # too large
        case("srht", *size, 5.0, peak_bytes=2.9 * 4e7),
        case("hashed", *size, 4.0),
        case("fastfood", *size, 0.1, dtype="float64"),  # another dtype
        case("orthonormal", *size, 0.1, status="failed: no"),
    )
    accuracies = AccuracyComparison.of(
        {("kronecker", 300): BAD, ("srht", 300): GOOD, ("hashed", 300): GOOD_TOO}
    )
    [found] = recommend(m, accuracies)
    assert [row["projector"] for row in found.candidates] == ["hashed", "srht"]
    table = recommendation_table([found], accuracies)
    assert table["take"].tolist() == ["hashed"]
    assert table["it takes"].tolist() == ["4 ms, 2 MB"]
    assert table["runner-up"].tolist() == ["srht: 5 ms, 116 MB"]


def test_little_memory_is_allowed_however_small_theta_is() -> None:
    at = (100, 10)
    limit = recommendation.ALWAYS_ALLOWED_BYTES
    m = measured(case("gaussian", *at, 1.0, peak_bytes=limit + 1),
                 case("orthonormal", *at, 2.0, peak_bytes=limit))  # fmt: skip
    assert recommend(m, UNKNOWN)[0].projector == "orthonormal"


def test_no_candidate_is_said() -> None:
    m = measured(case("gaussian", 10**7, 10, 3.0, peak_bytes=1e12))
    found = recommend(m, UNKNOWN)
    assert found[0].projector == "none"
    assert recommendation_table(found, UNKNOWN)["take"].tolist() == ["none"]


def test_below_the_best_is_what_differs_from_it() -> None:
    accuracies = AccuracyComparison.of({
        ("a", 300): GOOD, ("b", 300): BAD, ("c", 300): GOOD_TOO,
        ("a", 1000): GOOD, ("b", 1000): GOOD_TOO, ("d", 1000): Sample(()),
    })  # fmt: skip
    assert accuracies.below_best == {"b": [300]}
    table = accuracy_table(accuracies).set_index("projector")
    assert list(table.index) == ["a", "b", "c"]
    assert table.loc["a"].tolist() == ["best", "best", ""]
    assert table.loc["c", "d = 1,000"] == "not measured"


def test_points_have_an_interval() -> None:
    accuracies = AccuracyComparison.of({
        ("a", 300): Sample((97.9, 98.0, 98.1)), ("b", 300): Sample((90.0, 90.1, 90.2)),
        ("c", 300): Sample((9.0,)), ("d", 300): Sample((97.9999,)), ("a", 3000): GOOD,
    })  # fmt: skip
    # By hand: 2.776 (t, 4 degrees of freedom) · √(2/3) · 0.1.
    assert accuracies.points_from_best("b", 300) == "-7.90 ± 0.23"
    assert accuracies.points_from_best("c", 300) == "-89.00"
    assert accuracies.points_from_best("d", 300) == "+0.00"
    assert accuracies.at_nearest("a", 500) == "best (d = 300)"
    assert accuracies.at_nearest("b", 2_000) == "not measured (d = 3,000)"


def test_nothing_measured_recommends_nothing() -> None:
    assert recommend(measured(case("gaussian", 10, 1, 1.0, status="failed: no")), UNKNOWN) == []
    assert recommendation_table([], UNKNOWN).empty
    assert accuracy_table(UNKNOWN).empty
