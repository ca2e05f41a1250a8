"""The minimum detectable drop and rise are detected as promised, whatever the distribution."""

from __future__ import annotations

import numpy as np
import pytest

from subspace_bench.regression.sequential import Design
from subspace_bench.regression.validation.resampling import judge_changed

DESIGN = Design(0.01, 6, 100)


def skewed(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Values with a long lower tail, as accuracies have."""
    return 98 - rng.exponential(1.0, shape) - 0.3 * rng.standard_normal(shape)


def found(reference: np.ndarray, shift: float, rng: np.random.Generator) -> float:
    return judge_changed(DESIGN, reference[None], skewed(rng, 4_000, 16) + shift).mean()


@pytest.mark.slow
def test_both_directions_are_found_as_promised() -> None:
    rng = np.random.default_rng(0)
    powers = []
    for _ in range(3):
        reference = skewed(rng, 100)
        drop, rise = DESIGN.minimum_detectable_effects(reference.tolist())
        assert drop < rise
        powers.append((found(reference, -drop, rng), found(reference, rise, rng)))
    assert (np.mean(powers, axis=0) >= 0.95).all()


@pytest.mark.parametrize("count, factor", [(20, 1.0), (40, 1.0), (40, 100.0), (100, 1.0)])
def test_effects_are_not_much_larger_than_for_normal_values(count: int, factor: float) -> None:
    values = np.random.default_rng(1).standard_normal(count)
    design = Design(0.01, 1, count)
    effects = np.array(design.minimum_detectable_effects((factor * values).tolist()))
    sd = factor * values.std(ddof=1)
    assert effects / sd == pytest.approx(design.minimum_detectable_effect(), rel=0.6)


def test_equal_values_detect_anything() -> None:
    assert Design(0.01, 1, 40).minimum_detectable_effects([50.0] * 40) == (0.0, 0.0)
