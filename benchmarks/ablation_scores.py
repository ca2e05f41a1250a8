"""What the trainings of `ablation` share: images, scores, and rounding."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from benchmarks.held_out import Split

Data = dict[str, Split]  # front end → what it makes of the images; "raw": pixels from 0 to 1


@dataclass(frozen=True)
class Score:
    """Accuracy on held-out images, in %."""

    accuracy: float
    seconds: float = 0.0


def round_to(numbers: Tensor, bits: int) -> None:
    """Rounds in place to 2^bits - 1 values, in equal steps up to the largest."""
    step = numbers.abs().max() / (2 ** (bits - 1) - 1)
    numbers.copy_((numbers / step).round() * step)
