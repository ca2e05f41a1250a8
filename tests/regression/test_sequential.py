"""The sequential test keeps its false-positive rate and its power: simulations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from subspace_bench.regression.rank_test import p_value, p_values
from subspace_bench.regression.sequential import (
    CHANGED,
    FUTILITY_P,
    INCONCLUSIVE,
    NO_CHANGE,
    STAGES,
    Design,
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
    """The final verdict, stage after stage."""
    for n in design.stages:
        decision = design.judge(reference, new[:n])
        if decision.verdict != INCONCLUSIVE:
            return decision.verdict
    raise AssertionError("the last stage is always final")


def rate(design: Design, draw: Draw, trials: int, shift: float = 0.0) -> float:
    """The share of changed verdicts; the shift is in sd's of the reference."""
    rng = np.random.default_rng(3)
    changed = 0
    for _ in range(trials):
        reference = draw(rng, design.reference)
        new = draw(rng, design.stages[-1]) + shift * reference.std(ddof=1)
        changed += verdict(design, reference, new) == CHANGED
    return changed / trials


def test_p_values_equal_scipys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(12), rng.standard_normal(4) + 0.3
    assert p_value(a, b) == stats.mannwhitneyu(a, b, method="exact").pvalue
    table = p_values(12, 4)
    assert table[int((a[:, None] < b).sum())] == pytest.approx(p_value(a, b))
    assert table[0] == table[-1] == pytest.approx(2 / 1820)  # 16 choose 4
    assert table.max() == 1


def test_critical_p_accounts_for_stages_and_family() -> None:
    one, many = Design(alpha=0.05, stages=(8,), futility_p=()), Design(alpha=0.05)
    assert one.critical_p <= 0.05
    assert one.critical_p / len(many.stages) < many.critical_p < one.critical_p
    assert Design(alpha=0.05, family=5).critical_p == Design(alpha=0.01).critical_p
    assert Design(alpha=1e-12).critical_p == 0  # no verdict is possible


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_the_false_positive_rate_holds_for_any_distribution(kind) -> None:
    """A bound, not an equality: stopping for futility lowers the rate."""
    trials, alpha = 2_000, 0.05
    measured = rate(Design(alpha=alpha), DISTRIBUTIONS[kind], trials)
    assert measured < stats.binom.isf(1e-4, trials, alpha) / trials
    assert measured > alpha / 4


def test_power_at_the_minimum_detectable_effect() -> None:
    design = Design(alpha=0.01, family=6)
    shift = design.minimum_detectable_effect(0.95)
    assert 1.0 < shift < 3.0
    measured = rate(design, DISTRIBUTIONS["normal"], 1_500, shift)
    assert measured == pytest.approx(0.95, abs=0.015)
    assert (
        Design(reference=100).minimum_detectable_effect()
        < Design(reference=40).minimum_detectable_effect()
    )


def test_a_stage_ends_the_test_below_critical_p_and_above_the_futility_bound() -> None:
    design = Design(alpha=0.01)
    reference = np.random.default_rng(1).standard_normal(40)
    low, middle, high = np.percentile(reference, (20, 50, 80))
    assert design.judge(reference, [low, high]).verdict == NO_CHANGE
    assert design.judge(reference, [-9, -9.1]).verdict == CHANGED
    assert design.judge(reference, [9, 9.1]).verdict == CHANGED
    assert design.judge(reference, [low, middle]).verdict == INCONCLUSIVE
    assert len(FUTILITY_P) == len(STAGES) - 1
    with pytest.raises(ValueError, match="not in tuple"):
        design.judge(reference, [middle] * 3)


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_judge_many_agrees_with_judge(kind) -> None:
    design, rng = Design(alpha=0.05), np.random.default_rng(0)
    old, new = DISTRIBUTIONS[kind](rng, 40), DISTRIBUTIONS[kind](rng, 200 * 16).reshape(200, 16)
    below = (old < new[..., None]).sum(-1) + (old == new[..., None]).sum(-1) / 2
    expected = [verdict(design, old, values) == CHANGED for values in new]
    assert design.judge_many(below.cumsum(1)).tolist() == expected
    assert 0 < sum(expected) < 200


def test_values_without_spread_are_judged() -> None:
    same = [50.02] * 40
    design = Design(alpha=0.01)
    assert design.judge(same, [50.02] * 2).verdict == NO_CHANGE
    assert design.judge(same, [50.03] * 4).verdict == CHANGED
