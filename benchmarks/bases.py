"""A fixed basis or a new one at every step? Writes results/bases.md, .csv.

    python -m benchmarks.bases [--rebuild]

Trains 2 nets in 4 ways with plain SGD in batches of 32, on one thread. One and a half hours of one
core; a second call continues. Protocol, fixed before the runs:

- The nets are Gressmann et al.'s (arXiv 2011.04720): FC 784-128-10, D = 101,770, and a CNN,
  D = 93,322. Initial weights are Glorot's, biases 0; pixels from 0 to 1; no augmentation.
- θ moves by -rate · P Pᵀ g, g the batch's gradient, P (D × 250) with entries ±1/√D: theirs are
  Gaussian of the same mean and variance, which take 30 times as long to redraw here. "fixed" has
  one P, "redrawn" a new one at each step, "sgd" none (θ moves by -rate · g).
- "mean" is SGD at the rate of "redrawn" times d/D: the mean over P of the steps of "redrawn".
- The last 10,000 training images are held out: never trained on. Stage "select": seed 100 trains at
  each rate of a grid of factors of 2, which grows until the best accuracy on held-out images lies
  inside. The grids started where a few hundred steps of seed 0 did well.
- Stage "final": SEEDS train at that rate. Only these are scored on the test set, at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks import measurements
from benchmarks.bases_page import DIM, EPOCHS, NAME, page
from benchmarks.held_out import Split, accuracy, batches, split
from benchmarks.rate_search import best_rate
from benchmarks.resumable import Trainings
from subspace_bench.common.errors import Diverged
from subspace_bench.common.rng import generator
from subspace_bench.datasets.loading import load_or_embedded
from subspace_bench.models import initialise, parameter_count
from subspace_bench.projectors import LinearMap, registry

BATCH, PROJECTOR = 32, "regenerated-signs"
SELECT_SEED, SEEDS = 100, tuple(range(5))
STRIDE = 1_000_000  # between the seeds of P of two trainings: more than a training has steps
RATES = {
    ("fc", "sgd"): (0.25, 0.5, 1.0),
    ("fc", "redrawn"): (4.0, 8.0, 16.0),
    ("fc", "fixed"): (8.0, 16.0, 32.0),
    ("cnn", "sgd"): (0.125, 0.25, 0.5),
    ("cnn", "redrawn"): (2.0, 4.0, 8.0),
    ("cnn", "fixed"): (4.0, 8.0, 16.0),
}


def fc() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 10)),
    )


NETS: dict[str, Callable[[], nn.Module]] = {"fc": fc, "cnn": cnn}
Basis = Callable[[int], LinearMap]  # step → P


@dataclass(frozen=True)
class Case:
    """One training."""

    net: str
    method: str
    stage: str
    rate: float
    seed: int


@dataclass(frozen=True)
class Score:
    """What a training gave.

    Attributes:
        accuracy: in %, on the test set in stage "final", else on held-out images; 0 if it diverged.
        curve: accuracy on held-out images after each epoch, separated by spaces.
        native: D.
        steps: T.
    """

    accuracy: float
    curve: str
    native: int
    steps: int
    seconds: float = 0.0


def basis(method: str, native: int, dim: int, seed: int) -> Basis | None:
    """P of each step; None for methods without a basis."""
    cls = registry.load(PROJECTOR)
    if method == "fixed":
        fixed = cls(native, dim, STRIDE * seed)
        return lambda step: fixed
    if method == "redrawn":
        return lambda step: cls(native, dim, STRIDE * seed + step)
    return None


def direction(gradients: tuple[Tensor, ...], projector: LinearMap | None) -> Tensor:
    """P Pᵀ g (D,), or g without a projector."""
    if projector is None:
        return torch.cat([gradient.flatten() for gradient in gradients])
    projected: Tensor = projector(projector.transpose_pieces(gradients))
    return projected


def train(case: Case, data: Split) -> Score:
    """One training."""
    net = NETS[case.net]()
    initialise(net, "glorot", generator(case.seed, "bases"))
    parameters = list(net.parameters())
    theta = nn.utils.parameters_to_vector(parameters).detach()
    nn.utils.vector_to_parameters(theta, parameters)  # views of theta
    projectors = basis(case.method, len(theta), DIM, case.seed)
    curve, per_epoch = list[float](), len(data.train[1]) // BATCH
    order = batches(len(data.train[1]), BATCH, EPOCHS[case.net], case.seed)
    steps = 0
    try:
        for steps, batch in enumerate(order, 1):
            loss = cross_entropy(net(data.train[0][batch]), data.train[1][batch])
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                projector = projectors(steps) if projectors else None
                theta.sub_(direction(gradients, projector), alpha=case.rate)
            if steps % per_epoch == 0:
                curve.append(accuracy(net, data.held_out))
    except Diverged:
        theta.fill_(torch.nan)
    last = 0.0
    if theta.isfinite().all():
        last = accuracy(net, data.test) if case.stage == "final" else curve[-1]
    shown = " ".join(f"{value:.2f}" for value in curve)
    return Score(round(last, 2), shown, len(theta), steps)


def measure(out: Path) -> None:
    """Trains what the csv lacks, the cheap net first."""
    torch.set_num_threads(1)
    data = split(load_or_embedded())
    facts = {"dataset": data.name, "batch": BATCH, "dim": DIM, "projector": PROJECTOR}
    trainings = Trainings(NAME, out, Case, Score, lambda case: train(case, data), facts)
    for net in NETS:
        chosen = {
            method: best_rate(
                grid,
                lambda rate, net=net, method=method: (
                    trainings(  # type: ignore[misc]
                        Case(net, method, "select", rate, SELECT_SEED)
                    ).accuracy
                ),
            )
            for (of, method), grid in RATES.items()
            if of == net
        }
        native = parameter_count(NETS[net]())
        chosen["mean"] = round(chosen["redrawn"] * DIM / native, 6)  # as the csv gives it back
        for seed in SEEDS:
            for method, rate in chosen.items():
                trainings(Case(net, method, "final", rate, seed))


def main() -> None:
    measurements.run(__doc__, NAME, measure, page)


if __name__ == "__main__":
    main()
