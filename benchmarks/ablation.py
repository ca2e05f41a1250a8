"""What makes d numbers good? Changes one part of a training at a time: results/ablation.md, .csv.

    python -m benchmarks.ablation [--rebuild]

Three trainings of the leaderboard, shortened to EPOCHS: 100 directions of 65,536 that the gradient
chooses, and 1,000 of a hashed P, both of a dense net on oriented gradients; and 300 weights of a
convolutional net. About 500 trainings, four hours of one core; a second call continues. Protocol,
fixed before the runs:

- All see the first 50,000 training images and are scored on the other 10,000. No test image is
  used. With the same seed, all see the same batches.
- For each change, seed 100 trains at each peak rate of a grid of factors of 2, which grows until
  the best accuracy lies inside it. Then SEEDS train at that rate, and only these are reported.
- "best of 8": of 8 seeds of θ₀ and P, the one with the lowest loss on training images.
- "8 bits" and "4 bits": numbers are rounded after training, in equal steps up to the largest.

Added on 2026-11-27, after the first results: the 300 weights, convolutions, and images that are
turned, scaled and moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks import measurements
from benchmarks.ablation_page import NAME, page
from benchmarks.ablation_recipes import CHANGES, RATES, fronts
from benchmarks.ablation_recipes import train as train_recipe
from benchmarks.ablation_scores import Data, Score
from benchmarks.rate_search import best_rate
from benchmarks.resumable import Trainings
from subspace_bench.datasets.loading import load_or_embedded

EPOCHS = 10
SELECT_SEED, SEEDS = 100, tuple(range(5))


@dataclass(frozen=True)
class Case:
    """One training; `rate` is the peak learning rate."""

    stage: str
    d: int
    change: str
    rate: float
    seed: int


def train(case: Case, data: Data) -> Score:
    """One training."""
    recipe = CHANGES[case.d][case.change]
    return train_recipe(recipe, case.d, case.rate, case.seed, EPOCHS, data)


def measure(out: Path) -> None:
    """Trains what the csv lacks, on one thread."""
    torch.set_num_threads(1)
    dataset = load_or_embedded()
    data = fronts(dataset)
    facts = {"dataset": dataset.name, "epochs": EPOCHS, "seeds": len(SEEDS)}
    trainings = Trainings(NAME, out, Case, Score, lambda case: train(case, data), facts)
    for d, changes in CHANGES.items():
        for change in changes:
            rate = best_rate(
                RATES[d],
                lambda rate, d=d, change=change: (
                    trainings(  # type: ignore[misc]
                        Case("select", d, change, rate, SELECT_SEED)
                    ).accuracy
                ),
            )
            for seed in SEEDS:
                trainings(Case("final", d, change, rate, seed))


def main() -> None:
    measurements.run(__doc__, NAME, measure, page)


if __name__ == "__main__":
    main()
