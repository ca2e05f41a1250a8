"""Arguments that are no numbers are errors of the user, not of this program."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from subspace_bench import UserError, intrinsic_dimension
from subspace_bench.common import validation


@pytest.mark.parametrize("value", [torch.zeros(3), np.zeros(2), "3", [], object(), 1j])
@pytest.mark.parametrize(
    "name", ["fraction", "threshold", "within", "trainings", "interval_ratio", "jobs"]
)
def test_what_is_no_number_is_an_error(name: str, value: object) -> None:
    with pytest.raises(UserError, match="must be a number"):
        intrinsic_dimension(lambda seed: nn.Linear(3, 3), lambda net, seed: 0.5, **{name: value})


def test_numbers_of_numpy_are_numbers() -> None:
    validation.require_at_least(1, jobs=np.int64(3), width=np.float32(2))
    validation.require_fraction(alpha=np.float64(0.5))
