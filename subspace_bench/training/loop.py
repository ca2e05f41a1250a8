"""The training loop: one run → one record.

    g = ∇L(θ) on a batch,   ω ← Adam or SGD (ω, Pᵀg),   θ = θ₀ + Pω

A baseline trains θ itself. The protocol says when the test accuracy is measured.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from subspace_bench import models
from subspace_bench.common.errors import Diverged, UserError
from subspace_bench.common.rng import generator, seed_torch
from subspace_bench.datasets.batches import Batches, scale_pixels, training_slice
from subspace_bench.datasets.dataset import Dataset
from subspace_bench.models.initialization import initialise, sigmas
from subspace_bench.records import provenance
from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Record
from subspace_bench.subspace import FlatParameters, fingerprint
from subspace_bench.training import author_draws
from subspace_bench.training.checkpoint import (
    FINGERPRINT_STEP,
    Checkpoint,
    DamagedCheckpoint,
    TrainingState,
)
from subspace_bench.training.optimizers import Optimizer, make_optimizer

EVALUATION_CHUNK = 500  # images, few enough for their activations to stay in cache
CHECKPOINT_SECONDS = 60.0
PROGRESS_SECONDS = 5.0


class Interrupted(Exception):
    """Training was asked to stop and wrote its checkpoint."""


@dataclass
class Progress:
    """Progress of a training run.

    Attributes:
        accuracy: test accuracy in %, if it was just measured.
        loss: of this update's batch, likewise.
    """

    updates: int
    accuracy: float | None
    seconds: float
    loss: float | None = None


def train(
    run: RunConfig,
    dataset: Dataset,
    checkpoint: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Record:
    """Trains one run and returns its record.

    Arguments:
        checkpoint: a file to resume from and to write at least every two minutes; None for no
            checkpoint.
        on_progress: called after every score and every few seconds in between.
        should_stop: called at every step; when it returns True, training writes the checkpoint and
            stops.

    Raises:
        Interrupted: after `should_stop` returned True.
        UserError: for an unknown model or projector, d outside 1 … D, or a batched run, which
            `together.train_together` trains.
    """
    if run.batched:
        raise UserError(f"{run.label} is a run of a batch: it does not train alone")
    began = time.monotonic()
    provenance.revision()  # cached now, to name the code that trains and not a later commit
    torch.set_num_threads(run.threads)
    if run.device == "cuda":
        make_cuda_deterministic()
    saved = Checkpoint(checkpoint, run)
    net, optimizer, state = set_up_training(run, saved)
    batches = make_batches(run, dataset)
    images, labels = (part.to(run.device) for part in scored_images(run, dataset))
    set_up = time.monotonic() - began

    began = written = reported = time.monotonic() - state.seconds
    while state.updates < run.protocol.steps:
        x, y = batches(state.updates)
        seed_torch(run.seed, "dropout", state.updates)
        refused = False
        try:
            loss = step(net, optimizer, x, y)
        except (Diverged, RuntimeError) as failure:
            if not has_diverged(failure):
                raise
            refused, loss = True, torch.tensor(math.nan)
        state.updates += 1

        now = time.monotonic()
        if state.updates == FINGERPRINT_STEP:
            state.extra["sha256_at_200"] = fingerprint(optimizer.trained)
        scored = run.protocol.scored(state.updates) or state.updates == run.protocol.steps
        if scored or refused:
            value = loss.item()
            if not math.isfinite(value) or not optimizer.trained.isfinite().all():
                state.extra["diverged"] = state.updates
                break
            accuracy = evaluate(net.module, images, labels, run.protocol.scale)
            if math.isnan(accuracy):
                state.extra["diverged"] = state.updates
                break
            state.curve.append([state.updates, accuracy, value])
            on_progress(Progress(state.updates, accuracy, now - began, value))
            reported = now
        elif now - reported > PROGRESS_SECONDS:
            on_progress(Progress(state.updates, None, now - began))
            reported = now
        state.seconds = time.monotonic() - began
        if should_stop():
            saved.write(state, optimizer, net.module)
            raise Interrupted
        if now - written > CHECKPOINT_SECONDS:
            saved.write(state, optimizer, net.module)
            written = now
    facts = provenance.collect(run, dataset, set_up, state.seconds)
    return Record(run, result(run, net.theta.numel(), optimizer.trained, state), facts)


def set_up_training(
    run: RunConfig, saved: Checkpoint
) -> tuple[FlatParameters, Optimizer, TrainingState]:
    """The model, its optimizer and how far training has come; from the start without checkpoint.

    Prints one line if the checkpoint cannot be used.
    """
    net = prepare(run)
    optimizer = make_optimizer(run, net)
    try:
        return net, optimizer, saved.load(optimizer, net.module) or TrainingState()
    except DamagedCheckpoint as failure:
        with contextlib.suppress(OSError, ValueError):  # nobody may be reading stderr
            print(f"{run.label}: {failure}: starting over", file=sys.stderr, flush=True)
    del net, optimizer  # may be half restored, and P is large
    net = prepare(run)
    return net, make_optimizer(run, net), TrainingState()


def loss_curve(run: RunConfig, dataset: Dataset) -> list[float]:
    """The loss of each step's batch before its update; does not score or store anything."""
    torch.set_num_threads(run.threads)
    net = prepare(run)
    optimizer = make_optimizer(run, net)
    batches = make_batches(run, dataset)
    losses = []
    for update in range(run.protocol.steps):
        x, y = batches(update)
        seed_torch(run.seed, "dropout", update)
        losses.append(step(net, optimizer, x, y).item())
    return losses


def make_batches(run: RunConfig, dataset: Dataset) -> Batches:
    """The training batches of a run."""
    p, dtype = run.protocol, getattr(torch, run.dtype)
    return Batches(dataset, p.batch, run.seed, p.sampling, p.scale, p.train, run.device, dtype)


def scored_images(run: RunConfig, dataset: Dataset) -> tuple[Tensor, Tensor]:
    """The images and labels to score on: the test set, or held-out training images."""
    if run.protocol.score_on == "test":
        return dataset.test_images, dataset.test_labels
    rest = slice(training_slice(run.protocol.train, len(dataset.train_labels)).stop, None)
    return dataset.train_images[rest], dataset.train_labels[rest]


def make_cuda_deterministic() -> None:
    """Makes runs on one GPU bitwise reproducible, where PyTorch has such kernels."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling new tensors, which no result depends on, would cost a pass over each.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def prepare(run: RunConfig) -> FlatParameters:
    """The run's model at θ_init on its device, with its parameters in one vector θ (D,)."""
    module = models.build(run.model)
    if run.draws == "author":
        theta = author_draws.theta_init(run.model, sigmas(run.init)).float()
        nn.utils.vector_to_parameters(theta, module.parameters())
    else:
        initialise(module, run.init, generator(run.seed, "init"))
    return FlatParameters(module.to(run.device, getattr(torch, run.dtype)))


def step(net: FlatParameters, optimizer: Optimizer, x: Tensor, y: Tensor) -> Tensor:
    """One update on a batch; returns its mean cross-entropy before the update."""
    net.module.train()
    net.gradient.zero_()
    loss = F.cross_entropy(net.module(x), y)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.detach()


def has_diverged(failure: Exception) -> bool:
    """Whether an update failed because of NaN, or of a step that the data type cannot hold."""
    return isinstance(failure, Diverged) or "without overflow" in str(failure)  # torch's words


@torch.no_grad()
def evaluate(module: nn.Module, images: Tensor, labels: Tensor, scale: str) -> float:
    """Accuracy in % over all images (N, 28, 28) uint8, without dropout; NaN if an output overflows.

    The data type may hold the loss and θ, and yet not the output for some image: float16 ends at
    65,504.
    """
    module.eval()
    dtype = next(module.parameters()).dtype
    correct = 0
    chunks = torch.split(images, EVALUATION_CHUNK), torch.split(labels, EVALUATION_CHUNK)
    for x, y in zip(*chunks, strict=True):
        outputs = module(scale_pixels(x, scale, dtype))
        if not outputs.isfinite().all():
            return math.nan
        correct += int((outputs.argmax(1) == y).sum())
    return round(100 * correct / len(labels), 4)


def result(run: RunConfig, native: int, trained: Tensor, state: TrainingState) -> dict[str, Any]:
    """The part of the record that is the same for the same run, bit for bit."""
    scores = {int(updates): accuracy for updates, accuracy, _ in state.curve}
    return {
        "accuracy": scores.get(run.protocol.last_score),
        "accuracy_end": scores.get(run.protocol.steps),
        "native_dimension": native,
        "free_parameters": native if run.dim is None else run.dim,
        "sha256": fingerprint(trained),
        **state.extra,
        "curve": state.curve,
    }
