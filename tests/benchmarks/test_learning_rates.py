"""The search over learning rates, and the shared rate that the page derives from it."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from benchmarks.learning_rates import Case, Group, Runs
from benchmarks.learning_rates_page import NETS, judge, scores

SETTING = ("fan-in", "adam", "one-cycle")


def search(best: float) -> Runs:
    """A search where accuracy falls by 5 points per doubling away from the best rate."""
    runs = Runs.__new__(Runs)
    runs.scores = {}

    def score(case: Case) -> float:
        return runs.scores.setdefault(case, 90 - 5 * abs(math.log2(case.rate / best)))

    runs.score = score  # type: ignore[method-assign]
    runs.search(Group(*SETTING, "hashed", (100,), (0.2, 0.4, 0.8), 2), "fc", 100)
    return runs


@pytest.mark.parametrize("best", [0.025, 0.1, 0.2, 0.4, 0.8, 6.4])
def test_a_search_ends_with_its_best_rate_inside_the_grid(best: float) -> None:
    rates = sorted({case.rate for case in search(best).scores})
    assert rates[0] < best < rates[-1]
    assert {case.seed for case in search(best).scores} == {0, 1}


def rows(accuracies: dict[tuple[int, float, int], float], net: str = "fc") -> pd.DataFrame:
    """Rows of the csv from (d, rate, seed) → accuracy."""
    labels = dict(zip(("scaling", "optimizer", "schedule"), SETTING, strict=True))
    return pd.DataFrame(
        {**labels, "net": net, "projector": "hashed", "dim": d, "rate": r, "seed": s, "accuracy": a}
        for (d, r, s), a in accuracies.items()
    )


def test_the_shared_rate_loses_least_at_worst() -> None:
    table = {
        (100, 0.1, 0): 80.0, (100, 0.2, 0): 85.0, (100, 0.4, 0): 86.0,
        (1000, 0.1, 0): 95.0, (1000, 0.2, 0): 94.5, (1000, 0.4, 0): 70.0,
    }  # fmt: skip
    rate, cells = judge(scores(rows(table), SETTING))
    assert rate == 0.2
    assert [(cell.best, cell.loss) for cell in cells] == [(0.4, 1.0), (0.1, 0.5)]


def test_a_rate_that_only_some_seeds_tried_does_not_count() -> None:
    table = {(100, 0.1, 0): 80.0, (100, 0.2, 0): 85.0, (100, 0.1, 1): 82.0}
    (cell,) = scores(rows(table), SETTING)
    assert (cell.seeds, cell.rates.tolist(), cell.accuracies.tolist()) == (2, [0.1], [81.0])


def test_rates_for_unit_columns_are_larger_by_root_native_over_dim() -> None:
    table = {(100, 0.1, 0): 80.0, (100, 0.2, 0): 85.0}
    (cell,) = scores(rows(table), SETTING, unit_columns=True)
    assert cell.rates == pytest.approx([r * (NETS["fc"] / 100) ** 0.5 for r in (0.1, 0.2)])
