"""Trains the seeds of a run as one batch, and writes each its record; see batched.py."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from subspace_bench.common.hardware import core_count
from subspace_bench.datasets.batches import scale_pixels
from subspace_bench.datasets.dataset import Dataset
from subspace_bench.records import provenance
from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Record
from subspace_bench.subspace import fingerprint
from subspace_bench.training.batched import BatchedTraining
from subspace_bench.training.checkpoint import FINGERPRINT_STEP, TrainingState
from subspace_bench.training.loop import make_cuda_deterministic, result, scored_images


def train_together(
    runs: Sequence[RunConfig],
    dataset: Dataset,
    on_score: Callable[[int, list[float]], None] = lambda updates, accuracies: None,
) -> list[Record]:
    """Trains runs that differ in their seed only, and returns their records.

    The records are of `batched` runs. Their provenance names the seeds of the batch,
    `batched_seeds`, and has the seconds and the memory of the whole batch.

    Arguments:
        on_score: called with the number of updates and the accuracies in %, one a run.

    Raises:
        UserError: as `BatchedTraining`.
    """
    began = time.monotonic()
    provenance.revision()  # cached now, as in `loop.train`
    torch.set_num_threads(runs[0].threads)
    if runs[0].device == "cuda":
        make_cuda_deterministic()
        torch.set_num_threads(core_count())  # for drawing P, while the device has nothing to do
    training = BatchedTraining(runs, dataset)
    protocol, device = runs[0].protocol, training.theta.device
    images, labels = (part.to(device) for part in scored_images(runs[0], dataset))
    images = scale_pixels(images, protocol.scale, training.theta.dtype)
    states = [TrainingState() for _ in runs]
    set_up, began = time.monotonic() - began, time.monotonic()

    while training.updates < protocol.steps:
        losses = training.step()
        updates = training.updates
        if updates == FINGERPRINT_STEP:
            for state, trained in zip(states, training.trained, strict=True):
                state.extra["sha256_at_200"] = fingerprint(trained)
        if protocol.scored(updates) or updates == protocol.steps:
            accuracies = training.accuracies(images, labels)
            for state, *score in zip(states, accuracies, losses.tolist(), strict=True):
                add_score(state, updates, *score)
            on_score(updates, accuracies)

    seconds, native = time.monotonic() - began, training.theta.shape[1]
    facts = provenance.collect(runs[0], dataset, set_up, seconds)
    facts["batched_seeds"] = [run.seed for run in runs]
    outcomes = zip(runs, training.trained, states, strict=True)
    return [
        Record(replace(run, batched=True), result(run, native, trained, state), facts)
        for run, trained, state in outcomes
    ]


def add_score(state: TrainingState, updates: int, accuracy: float, loss: float) -> None:
    """Adds a score to a run's curve, which ends where it or the loss is not finite."""
    if "diverged" in state.extra:
        return
    if math.isfinite(loss) and not math.isnan(accuracy):
        state.curve.append([updates, accuracy, loss])
    else:
        state.extra["diverged"] = updates
