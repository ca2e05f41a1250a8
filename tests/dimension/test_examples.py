"""From outside: an example task with a tiny budget, and a plot beside a user's own backend.

tests/subspace/test_integrations.py has the other example task.
"""

from __future__ import annotations

import subprocess
import sys
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


@pytest.mark.slow
def test_plots_leave_the_backend_of_the_user() -> None:
    """In a notebook, a plot appears; reporting, which only saves figures, is not imported."""
    code = (
        "import sys, torch\n"
        "from subspace_bench import intrinsic_dimension\n"
        "from tests.dimension.test_measure import build, train\n"
        "result = intrinsic_dimension(build, train, trainings=5)\n"
        "import matplotlib\n"
        "matplotlib.use('svg')\n"
        "axes = result.plot()\n"
        "assert axes.get_xscale() == 'log'\n"
        "assert matplotlib.get_backend() == 'svg', matplotlib.get_backend()\n"
        "assert not [name for name in sys.modules if name.startswith('subspace_bench.reporting')]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
