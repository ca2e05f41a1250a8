"""The sequential test keeps its false-alarm rate and its power: the real function, simulated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from subspace_bench.regression.sequential import (
    FUTILITY_P,
    IN_DOUBT,
    MOVED,
    STAGES,
    WITHIN,
    Design,
    p_value,
    p_values,
)

Draw = Callable[[np.random.Generator, int], np.ndarray]
DISTRIBUTIONS: dict[str, Draw] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "exponential": lambda rng, n: -rng.exponential(size=n),
    "heavy tails": lambda rng, n: rng.standard_t(3, n),
    "some runs fail": lambda rng, n: rng.standard_normal(n) - 20 * (rng.random(n) < 0.02),
    "on a coarse grid": lambda rng, n: rng.standard_normal(n).round(1),
}


def verdict(design: Design, reference: np.ndarray, new: np.ndarray) -> str:
    """Looks until one is final."""
    for n in design.stages:
        decision = design.judge(reference, new[:n])
        if decision.verdict != IN_DOUBT:
            return decision.verdict
    raise AssertionError("the last look is always final")


def rate(design: Design, draw: Draw, trials: int, shift: float = 0.0) -> float:
    """How often numbers of a distribution are called moved; the shift is in the reference's sd."""
    rng = np.random.default_rng(3)
    moved = 0
    for _ in range(trials):
        reference = draw(rng, design.reference)
        new = draw(rng, design.stages[-1]) + shift * reference.std(ddof=1)
        moved += verdict(design, reference, new) == MOVED
    return moved / trials


def t_test_rate(draw: Draw, trials: int, alpha: float) -> float:
    """The same of Student's test with one look at two numbers."""
    rng = np.random.default_rng(3)
    old, new = draw(rng, 40 * trials).reshape(trials, 40), draw(rng, 2 * trials).reshape(trials, 2)
    return float((stats.ttest_ind(old, new, axis=1).pvalue <= alpha).mean())


def test_p_values_are_mann_and_whitneys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(12), rng.standard_normal(4) + 0.3
    assert p_value(a, b) == stats.mannwhitneyu(a, b, method="exact").pvalue
    table = p_values(12, 4)
    assert table[int((a[:, None] < b).sum())] == pytest.approx(p_value(a, b))
    assert table[0] == table[-1] == pytest.approx(2 / 1820)  # 16 choose 4
    assert table.max() == 1


def test_boundaries_pay_for_looks_and_family() -> None:
    one, many = Design(alpha=0.05, stages=(8,), futility_p=()), Design(alpha=0.05)
    assert one.critical_p <= 0.05
    assert one.critical_p / len(many.looks) < many.critical_p < one.critical_p
    assert Design(alpha=0.05, family=5).critical_p == Design(alpha=0.01).critical_p
    assert Design(alpha=1e-12).critical_p == 0  # nothing can be said then


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_the_false_alarm_rate_is_at_most_the_stated_one_whatever_the_distribution(kind) -> None:
    """A bound and not an equality: ending early where nothing is in doubt only lowers it."""
    trials, alpha = 2_000, 0.05
    measured = rate(Design(alpha=alpha), DISTRIBUTIONS[kind], trials)
    assert measured < stats.binom.isf(1e-4, trials, alpha) / trials
    assert measured > alpha / 4


def test_students_test_would_not_keep_it() -> None:
    assert t_test_rate(DISTRIBUTIONS["normal"], 100_000, 0.002) < 0.003
    assert t_test_rate(DISTRIBUTIONS["exponential"], 100_000, 0.002) > 0.006


def test_power_is_as_stated() -> None:
    design = Design(alpha=0.01, family=6)
    shift = design.minimum_detectable_effect(0.95)
    assert 1.0 < shift < 3.0
    measured = rate(design, DISTRIBUTIONS["normal"], 1_500, shift)
    assert measured == pytest.approx(0.95, abs=0.015)
    assert (
        Design(reference=100).minimum_detectable_effect()
        < Design(reference=40).minimum_detectable_effect()
    )


def test_looks_end_where_nothing_is_in_doubt_and_where_all_is_clear() -> None:
    design = Design(alpha=0.01)
    reference = np.random.default_rng(1).standard_normal(40)
    low, middle, high = np.percentile(reference, (20, 50, 80))
    assert design.judge(reference, [low, high]).verdict == WITHIN
    assert design.judge(reference, [-9, -9.1]).verdict == MOVED
    assert design.judge(reference, [9, 9.1]).verdict == MOVED
    doubt = design.judge(reference, [low, middle])
    assert (doubt.verdict, doubt.needed) == (IN_DOUBT, 4)
    assert len(FUTILITY_P) == len(STAGES) - 1
    with pytest.raises(ValueError, match="not in tuple"):
        design.judge(reference, [middle] * 3)


def test_numbers_without_spread_are_judged_too() -> None:
    same = [50.02] * 40
    design = Design(alpha=0.01)
    assert design.judge(same, [50.02] * 2).verdict == WITHIN
    assert design.judge(same, [50.03] * 4).verdict == MOVED
