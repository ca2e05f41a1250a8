"""Accuracy of the post's net at equal numbers and equal bytes: writes results/sparsity.md, .csv.

    python -m benchmarks.sparsity [--rebuild]

Compares weight decay, pruning, low rank, weight sharing, subspaces and smaller nets, on one thread.
A second call continues. About 400 trainings: two hours of one core.

Protocol, fixed before the runs. Net: the post's conv net without dropout, D = 21,840, PyTorch's
initial weights, on normalised MNIST. All trainings: EPOCHS epochs in batches of BATCH, Adam, a
one-cycle schedule that peaks after a quarter of the steps. The last 10,000 training images are held
out: never trained on. With the same seed, all methods see the same batches, and those that train
the post's net start from the same θ₀ (shared weights have θ₀ = 0).

1. "select": seed 0 trains each method at each k and each peak rate of a grid of factors of 2
   (`sparsity_methods.METHODS`). The grid grows until the best accuracy on held-out images lies
   inside it. Penalties train at the plain net's rate, with each factor of their grid; the best
   factor is chosen for each k, after all but the k largest weights were set to zero.
2. "final": seeds 10 … 14 train with what was chosen at k. Only these are scored on the test set,
   once. Sparse nets are also scored at the k' ≤ k whose bytes fit into those of a subspace of k
   numbers, with what was chosen at k.

Added on 2026-11-27, after the first results: L2 with 0.3 and 1.0, since the best factor for few
numbers was the largest; and pruning with an L1 penalty of 0.3/k, as the leaderboard's entry
post-sparse has it. Only its rate is chosen.

Nothing else is tuned. The first rates and the factors of penalties come from probes of one seed on
held-out images. A weight is in use if its size exceeds THRESHOLD.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import torch

from benchmarks import measurements
from benchmarks.held_out import Split, normalised, split
from benchmarks.rate_search import best_rate
from benchmarks.sparsity_methods import METHODS, PLAIN
from benchmarks.sparsity_page import NAME, page
from benchmarks.sparsity_storage import NATIVE, equal_size
from benchmarks.sparsity_training import BATCH, EPOCHS, THRESHOLD, Score, Training, train
from subspace_bench.datasets.loading import load_or_embedded
from subspace_bench.records import provenance

SELECT_SEED, FINAL_SEEDS = 0, (10, 11, 12, 13, 14)


class Runs:
    """All nets so far, kept in the csv: (training, size) → score."""

    def __init__(self, out: Path, data: Split) -> None:
        self.out, self.data = out, data
        self.scores: dict[tuple[Training, int], Score] = {}
        self.facts = {
            **provenance.machine(),
            **{"dataset": data.name, "trained on": len(data.train[1])},
            **{"epochs": EPOCHS, "batch": BATCH, "threshold": THRESHOLD},
            **{"held out": len(data.held_out[1]), "seeds": len(FINAL_SEEDS)},
        }
        if (out / f"{NAME}.csv").is_file():
            self.scores = read(measurements.load(NAME, out).numbers)

    def score(self, training: Training, sizes: Sequence[int]) -> list[float]:
        """Accuracies of a training's nets; trains if one is new."""
        new = [size for size in sizes if (training, size) not in self.scores]
        if new:
            for size, score in zip(new, train(training, new, self.data), strict=True):
                self.scores[training, size] = score
            self.save()
            found = (self.scores[training, size] for size in new)
            shown = ", ".join(f"{score.numbers:,}: {score.accuracy}%" for score in found)
            seconds = self.scores[training, new[0]].cpu_seconds
            print(*asdict(training).values(), "|", shown, f"({seconds:.0f} s)", flush=True)
        return [self.scores[training, size].accuracy for size in sizes]

    def save(self) -> None:
        rows = [
            {**asdict(training), "size": size, **asdict(score)}
            for (training, size), score in self.scores.items()
        ]
        measurements.save(NAME, self.out, pd.DataFrame(rows), self.facts)

    def select(self, method: str, size: int, rate: float | None) -> Training:
        """The rate, or the penalty at a given rate, with the best held-out accuracy at a size."""
        settings = METHODS[method]
        penalty = settings.penalty_times_k / size
        case = Training(method, "select", size, rate or 0.0, penalty, SELECT_SEED)
        sizes: Sequence[int] = [size]
        if settings.thresholded:  # one training for all sizes
            case, sizes = replace(case, size=None), settings.sizes

        def accuracy(tried: Training) -> float:
            return self.score(tried, sizes)[sizes.index(size)]

        if rate is None:
            return replace(
                case, rate=best_rate(settings.rates, lambda r: accuracy(replace(case, rate=r)))
            )
        return max((replace(case, penalty=factor) for factor in settings.penalties), key=accuracy)

    def drop_unchosen(self, finals: dict[Training, list[int]]) -> None:
        """Forgets final nets of settings that are no longer the best, as when a grid has grown."""
        self.scores = {
            (training, size): score
            for (training, size), score in self.scores.items()
            if training.stage == "select"
            or size in finals.get(replace(training, stage="select", seed=SELECT_SEED), ())
        }


def read(rows: pd.DataFrame) -> dict[tuple[Training, int], Score]:
    """The nets in a csv."""
    found = {}
    for method, stage, size, rate, penalty, seed, *score in rows.itertuples(index=False, name=None):
        own = None if METHODS[method].thresholded else size
        found[Training(method, stage, own, rate, penalty, seed), size] = Score(*score)
    return found


def final_sizes(chosen: dict[int, Training]) -> dict[Training, list[int]]:
    """Size → choice turned into choice → sizes to score: k, and for a sparse net k' too."""
    found: dict[Training, list[int]] = {}
    for size, choice in chosen.items():
        ends = {size, equal_size(size)} if METHODS[choice.method].sparse else {size}
        if choice.size is None:
            found.setdefault(choice, []).extend(sorted(ends))
        else:
            found |= {replace(choice, size=end): [end] for end in sorted(ends)}
    return found


def measure(out: Path) -> None:
    """Trains what the csv lacks, on one thread."""
    torch.set_num_threads(1)
    runs = Runs(out, split(load_or_embedded(), normalised))
    rate = runs.select(PLAIN, NATIVE, None).rate
    finals: dict[Training, list[int]] = {}
    for method, settings in METHODS.items():
        given = rate if settings.thresholded else None
        finals |= final_sizes({k: runs.select(method, k, given) for k in settings.sizes})
    runs.drop_unchosen(finals)
    for seed in FINAL_SEEDS:
        for training, sizes in finals.items():
            runs.score(replace(training, stage="final", seed=seed), sizes)


def main() -> None:
    measurements.run(__doc__, NAME, measure, page)


if __name__ == "__main__":
    main()
