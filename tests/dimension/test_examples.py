"""An example task, with a tiny budget; tests/subspace/test_integrations.py has the other one."""

from __future__ import annotations

from pathlib import Path

import pytest

from subspace_bench.dimension.measure import measure
from subspace_bench.dimension.plan import Plan
from subspace_bench.dimension.task import load

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
def test_a_regression_needs_few_of_its_parameters() -> None:
    pytest.importorskip("sklearn")
    result = measure(load(str(EXAMPLES / "dimension_regression.py")), Plan(trainings=8))
    assert result.native == 769
    assert not result.higher_is_better
    assert 0.3 < result.baseline[0] < 1  # 1 is the loss of the mean
    assert result.target > min(result.baseline)
    assert result.interval[0] < 100
