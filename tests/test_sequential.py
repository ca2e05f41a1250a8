"""The sequential test keeps its false-alarm rate and its power: the real function, simulated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from subspace_bench.regression.sequential import IN_DOUBT, MOVED, WITHIN, Design, compare


def verdict(design: Design, reference: np.ndarray, new: np.ndarray) -> str:
    """Looks until one is final."""
    for n in design.looks:
        decision = design.judge(reference, new[:n])
        if decision.verdict != IN_DOUBT:
            return decision.verdict
    raise AssertionError("the last look is always final")


def rate(design: Design, shift: float, trials: int) -> float:
    draw = np.random.default_rng(3)
    moved = 0
    for _ in range(trials):
        reference = draw.standard_normal(design.reference)
        moved += verdict(design, reference, draw.standard_normal(12) + shift) == MOVED
    return moved / trials


def test_p_values_are_those_of_students_t_test() -> None:
    draw = np.random.default_rng(0)
    a, b = draw.standard_normal(40), draw.standard_normal(4) + 0.3
    difference, p = compare(a, b)
    assert p == pytest.approx(stats.ttest_ind(b, a).pvalue, rel=1e-9)
    assert difference == pytest.approx(b.mean() - a.mean())


def test_one_look_needs_no_correction() -> None:
    assert Design(alpha=0.03, looks=(5,)).boundary == pytest.approx(0.03)


def test_boundaries_pay_for_looks_and_family() -> None:
    one, many = Design(alpha=0.05, looks=(2,)), Design(alpha=0.05, looks=(2, 4, 8, 12))
    assert one.boundary / len(many.looks) < many.boundary < one.boundary
    assert Design(alpha=0.05, family=5).boundary == Design(alpha=0.01).boundary


def test_the_false_alarm_rate_is_at_most_the_stated_one() -> None:
    """A bound and not an equality: ending early where nothing is in doubt only lowers it."""
    trials, alpha = 4_000, 0.05
    measured = rate(Design(alpha=alpha), 0.0, trials)
    assert measured < stats.binom.isf(1e-4, trials, alpha) / trials
    assert measured > alpha / 3


def test_power_is_as_stated() -> None:
    design = Design(alpha=0.01, family=6)
    shift = design.smallest(0.95)
    assert 1.0 < shift < 3.0
    trials = 1_500
    measured = rate(design, shift, trials)
    assert measured == pytest.approx(0.95, abs=0.02)


def test_looks_end_where_nothing_is_in_doubt_and_where_all_is_clear() -> None:
    design = Design(alpha=0.01)
    reference = np.random.default_rng(1).standard_normal(40)
    mean = reference.mean()
    assert design.judge(reference, [mean, mean]).verdict == WITHIN
    assert design.judge(reference, [mean - 9, mean - 9.1]).verdict == MOVED
    assert design.judge(reference, [mean + 9, mean + 9.1]).verdict == MOVED
    doubt = design.judge(reference, [mean - 1, mean - 1.1])
    assert (doubt.verdict, doubt.needed) == (IN_DOUBT, 4)
    with pytest.raises(ValueError, match="not in tuple"):
        design.judge(reference, [mean] * 3)


def test_numbers_without_spread_are_judged_too() -> None:
    assert compare([1.0] * 5, [1.0, 1.0]) == (0.0, 1.0)
    assert compare([1.0] * 5, [2.0, 2.0]) == (1.0, 0.0)
