"""A denoising autoencoder of 157,684 parameters in subspaces: results/autoencoder.md, .csv.

    python -m benchmarks.autoencoder [--rebuild]

The net is 784-100-784, as the count in "Convolution by Evolution" (Fernando et al. 2016, arXiv
1606.02580) implies. Its abstract has no more of the set-up, so all else is ours. 50 minutes of one
core; a second call continues. Protocol, fixed before the runs:

- ReLU, then sigmoid; PyTorch's initial weights. The output biases of θ₀ start at the logit of the
  mean pixel of the training images: one number of the data. Subspace: hashed P, fan-in scaling.
- Noise: to each pixel (0 to 1) a number is added, uniform in 0 … 1. Loss and error: mean squared
  error per pixel against the image without noise.
- EPOCHS epochs in batches of 128. Adam's rate follows a one-cycle schedule that peaks after a
  quarter of the steps.
- The last 10,000 training images are held out. Stage "select": seed 100 trains at each peak rate of
  a grid of factors of 2, which grows until the lowest error on held-out images lies inside.
- Stage "final": SEEDS train at that rate. Only these are scored on the test images, and on images
  of other kinds, after the last step. All see the same noise in scoring. Fashion-MNIST is scored
  if its files lie where the package looks for data sets; they are not downloaded.
- Pictures: the first test image of each digit, and the first 10 filters, of the first seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from benchmarks import measurements
from benchmarks.autoencoder_baselines import NOISE_MEAN, Images, baselines, noisy, other_images
from benchmarks.autoencoder_page import NAME, NATIVE, page
from benchmarks.autoencoder_pictures import encode
from benchmarks.held_out import Split, batches, split
from benchmarks.rate_search import best_rate
from benchmarks.resumable import Trainings
from subspace_bench import Subspace, UserError
from subspace_bench.datasets.loading import load_or_embedded

DIMS = (10, 30, 100, 200, 300, 1_000, 3_000, 10_000, NATIVE)  # the last is without a subspace
EPOCHS, BATCH, HIDDEN = 20, 128, 100
SELECT_SEED, SEEDS = 100, tuple(range(5))
RATES, FULL_RATES = (0.25, 0.5, 1.0), (2**-8, 2**-7, 2**-6)
FILTERS = 10


@dataclass(frozen=True)
class Case:
    """One training; `rate` is the peak learning rate."""

    stage: str
    d: int
    rate: float
    seed: int


@dataclass(frozen=True)
class Score:
    """Mean squared errors per pixel; infinite if the training diverged.

    Attributes:
        error: of test images in stage "final", else of held-out ones.
        rotated: of test images turned by 90°; NaN in stage "select".
        fashion: of Fashion-MNIST's test images; NaN also where its files are missing.
    """

    error: float
    rotated: float
    fashion: float
    seconds: float = 0.0


class Autoencoder(nn.Sequential):
    """784-100-784; its output biases start at one value, so that its output is about `mean`.

    The mean of the noise is subtracted from the input: without that, many hidden units die in
    training at D, and the error after 2 epochs was 40% higher.
    """

    def __init__(self, mean: float) -> None:
        super().__init__(nn.Linear(784, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 784), nn.Sigmoid())
        nn.init.constant_(self.get_parameter("2.bias"), math.log(mean / (1 - mean)))

    def forward(self, images: Tensor) -> Tensor:
        """Noisy images (n, 784) → images (n, 784)."""
        output: Tensor = super().forward(images - NOISE_MEAN)  # type: ignore[no-untyped-call]
        return output


class Task:
    """Images, those to score on, and the pictures of trained nets.

    Attributes:
        pictures: name of a row → 10 encoded pictures, of images or, in "filters", of weights.
    """

    def __init__(self, data: Split, facts: dict[str, Any]) -> None:
        self.train, self.held_out = data.train[0], data.held_out[0]
        self.scored: dict[str, Images] = other_images(data.test[0])
        self.pictures: dict[str, dict[str, str]] = facts.setdefault(
            "pictures", {"images": {}, "filters": {}}
        )
        firsts = [int((data.test[1] == digit).nonzero()[0]) for digit in range(10)]
        self.shown = self.scored["error"][1][firsts]
        self.picture("images", "digits", self.scored["error"][0][firsts])
        self.picture("images", "with noise", self.shown)

    def picture(self, kind: str, row: str, values: Tensor) -> None:
        """Keeps pictures (10, 784): images from 0 to 1, or filters."""
        self.pictures[kind][row] = encode(values, signed=kind == "filters")


def train(case: Case, task: Task) -> Score:
    """One training."""
    torch.manual_seed(case.seed)
    net: nn.Module = Autoencoder(float(task.train.mean()))
    if case.d < NATIVE:
        net = Subspace(net, case.d, seed=case.seed)
    steps = EPOCHS * (len(task.train) // BATCH)
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], case.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, case.rate, total_steps=steps + 1, pct_start=0.25, cycle_momentum=False
    )
    try:
        for batch in batches(len(task.train), BATCH, EPOCHS, case.seed):
            images = task.train[batch]
            optimizer.zero_grad()
            mse_loss(net(images + torch.rand_like(images)), images).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        return score(case, net, task)
    except UserError:  # ω is NaN
        return Score(math.inf, math.nan, math.nan)


@torch.no_grad()
def score(case: Case, net: nn.Module, task: Task) -> Score:
    """The errors of a trained net; keeps its pictures if its seed is the one to show."""
    if case.stage == "select":
        error = errors(net, {"error": (task.held_out, noisy(task.held_out))})["error"]
        return Score(error if math.isfinite(error) else math.inf, math.nan, math.nan)
    if case.seed == SEEDS[0]:
        plain = net.merge() if isinstance(net, Subspace) else net
        task.picture("images", str(case.d), plain(task.shown))
        task.picture("filters", str(case.d), plain.get_parameter("0.weight")[:FILTERS])
    return Score(**{"rotated": math.nan, "fashion": math.nan, **errors(net, task.scored)})


def errors(net: nn.Module, scored: dict[str, Images]) -> dict[str, float]:
    """Mean squared error per pixel of each set."""
    return {
        name: round(float(mse_loss(net(inputs), images)), 7)
        for name, (images, inputs) in scored.items()
    }


def measure(out: Path) -> None:
    """Trains what the csv lacks, on one thread."""
    torch.set_num_threads(1)
    data = split(load_or_embedded())
    facts = {"dataset": data.name, "epochs": EPOCHS, "batch": BATCH}
    trainings = Trainings(NAME, out, Case, Score, lambda case: train(case, task), facts)
    task = Task(data, trainings.facts)
    trainings.facts["baselines"] = baselines(task.train, task.scored)
    for d in DIMS:
        rate = best_rate(
            FULL_RATES if d == NATIVE else RATES,
            lambda rate, d=d: -trainings(Case("select", d, rate, SELECT_SEED)).error,  # type: ignore[misc]
        )
        for seed in SEEDS:
            trainings(Case("final", d, rate, seed))


def main() -> None:
    measurements.run(__doc__, NAME, measure, page)


if __name__ == "__main__":
    main()
