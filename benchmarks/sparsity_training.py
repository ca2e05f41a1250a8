"""One training of results/sparsity.md, and the accuracies of the nets that it gives."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks import held_out
from benchmarks import sparsity_methods as methods
from benchmarks.held_out import Images, Split, accuracy
from benchmarks.sparsity_methods import METHODS
from subspace_bench.common.errors import UserError

EPOCHS, BATCH = 6, 128
THRESHOLD = 1e-3  # of |θ_i|; weights above it count as in use


@dataclass(frozen=True)
class Training:
    """What is trained.

    Attributes:
        stage: "select" is scored on held-out images, "final" on the test set.
        size: k; None if the training gives the nets of all sizes.
        rate: the peak learning rate.
        penalty: factor of ‖θ‖₁ or of ‖θ‖²/2 in the loss.
    """

    method: str
    stage: str
    size: int | None
    rate: float
    penalty: float
    seed: int


@dataclass(frozen=True)
class Score:
    """A net that a training gave.

    Attributes:
        accuracy: in %; 0 if the training diverged.
        numbers: how many are stored.
        large: how many parameters of the trained net exceed THRESHOLD, before the smaller ones were
            removed; 0 for methods that train other numbers than weights.
        cpu_seconds: of the training, without scoring; 0 for all nets of a training but the first.
    """

    accuracy: float
    numbers: int
    large: int
    cpu_seconds: float


def train(training: Training, sizes: Sequence[int], data: Split) -> list[Score]:
    """Trains once and scores the net of each size.

    Arguments:
        sizes: several only if the training is of a method that is `thresholded`.
    """
    start = time.process_time()
    torch.manual_seed(training.seed)
    method = METHODS[training.method]
    net = method.build(sizes[0], training.seed)
    alive = fit(net, training, data.train)
    seconds = round(time.process_time() - start, 1)
    scored = data.test if training.stage == "final" else data.held_out
    large = 0
    if method.thresholded:
        large = sum(int((p.abs() > THRESHOLD).sum()) for p in net.parameters())
    scores: list[Score] = []
    for size in sizes:
        kept = copy.deepcopy(net) if method.thresholded else net
        if method.thresholded:
            methods.keep_largest(kept, size)
        numbers = size if method.thresholded else stored_numbers(net)
        value = round(accuracy(kept, scored), 2) if alive else 0.0
        scores.append(Score(value, numbers, large, 0.0 if scores else seconds))
    return scores


def stored_numbers(net: nn.Module) -> int:
    """Trained numbers that remain."""
    return min(methods.remaining(net), sum(p.numel() for p in net.parameters() if p.requires_grad))


def fit(net: nn.Module, training: Training, images: Images) -> bool:
    """Trains in place; returns whether the loss stayed finite."""
    batches = list(held_out.batches(len(images[1]), BATCH, EPOCHS, training.seed, partial=True))
    trained = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, training.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, training.rate, total_steps=len(batches) + 1, pct_start=0.25, cycle_momentum=False
    )
    every = max(1, len(batches) // 100)
    pruned = METHODS[training.method].pruned
    try:
        for step, batch in enumerate(batches):
            done = step / len(batches)
            if pruned and step % every == 0:
                assert training.size is not None
                methods.prune_to(net, methods.kept_while_training(done, training.size))
            optimizer.zero_grad()
            loss = cross_entropy(net(images[0][batch]), images[1][batch])
            if training.penalty and (not pruned or done < methods.PRUNING_ENDS):
                loss = loss + training.penalty * norm(trained, training.method)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    except UserError:  # ω is NaN
        return False
    return bool(loss.isfinite())


def norm(parameters: Sequence[Tensor], method: str) -> Tensor:
    """‖θ‖₁, or for L2 ‖θ‖²/2, whose gradient is that of Adam's `weight_decay`."""
    theta = nn.utils.parameters_to_vector(parameters)
    return theta.square().sum() / 2 if method == methods.L2 else theta.abs().sum()
