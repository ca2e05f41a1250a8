"""The grid of cases."""

from __future__ import annotations

import pytest

from subspace_bench.common.errors import UserError
from subspace_bench.profiling.cases import DIMS, NATIVE, asv_cases, grid
from subspace_bench.projectors import names


def test_cases_go_from_small_to_large() -> None:
    cases = grid(["gaussian"], [100, 50], [60, 10], "cpu", "float32")
    assert [(c.native, c.dim) for c in cases] == [(50, 10), (100, 10), (100, 60)]


def test_layered_projectors_need_the_D_of_a_model() -> None:
    cases = grid(["fastfood", "fastfood-layers"], [900, 21_840], [5], "cpu", "float32")
    assert [(c.projector, c.native) for c in cases] == [
        ("fastfood", 900), ("fastfood", 21_840), ("fastfood-layers", 21_840),
    ]  # fmt: skip
    with pytest.raises(UserError, match="21840 or 199210"):
        grid(["fastfood-layers"], [900], [5], "cpu", "float32")


@pytest.mark.parametrize("native, dims", [([10], [11]), ([10], [0]), ([0], [1])])
def test_impossible_sizes(native, dims) -> None:
    with pytest.raises(UserError):
        grid(["gaussian"], native, dims, "cpu", "float32")


def test_asv_times_cases_of_the_default_grid() -> None:
    assert set(asv_cases()) <= set(grid(names(), tuple(NATIVE), DIMS, "cpu", "float32"))
    assert len(asv_cases()) <= 120
