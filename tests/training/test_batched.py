"""Runs that train together end where they end alone, up to rounding."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from subspace_bench.common.errors import UserError
from subspace_bench.common.rng import seed_torch
from subspace_bench.datasets.batches import scale_pixels
from subspace_bench.records.config import RunConfig, TrainingConfig
from subspace_bench.records.store import Store
from subspace_bench.training import presets
from subspace_bench.training.batched import BatchedTraining
from subspace_bench.training.checkpoint import TrainingState
from subspace_bench.training.loop import evaluate, make_batches, prepare, step, train
from subspace_bench.training.optimizers import make_optimizer
from subspace_bench.training.together import add_score, train_together

STEPS = 5
TOLERANCE = 1e-5  # of θ's change, in the Euclidean norm: Adam magnifies a gradient's last bits


def alone(run, dataset) -> tuple[torch.Tensor, torch.Tensor, float]:
    """(θ, losses, accuracy) after STEPS updates."""
    net = prepare(run)
    optimizer, batches, losses = make_optimizer(run, net), make_batches(run, dataset), []
    for update in range(STEPS):
        x, y = batches(update)
        seed_torch(run.seed, "dropout", update)
        losses.append(step(net, optimizer, x, y))
    images, labels = dataset.test_images[:200], dataset.test_labels[:200]
    accuracy = evaluate(net.module, images, labels, run.protocol.scale)
    return net.theta, torch.stack(losses), accuracy


RUNS = {
    "the post's net": presets.post("conv", 30, 1),
    "the post's baseline": presets.post("conv", None, 1),
    "no dropout, hashed, fan-in, one cycle": replace(
        presets.post("fc", None, 1),
        protocol=replace(presets.RECIPE, steps=20),
        dim=50,
        projector="hashed",
        scaling="fan-in",
    ),
    "a net of the MNIST-lite table": presets.lite("cnn-3369", 1),
    "a tutorial's net, by SGD": replace(
        presets.tutorial("5"), protocol=replace(presets.tutorial("5").protocol, batch=8)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_runs_end_where_they_end_alone(name, digits) -> None:
    runs = [replace(RUNS[name], seed=seed) for seed in (0, 3, 4)]
    together = BatchedTraining(runs, digits)
    start = together.theta.clone()
    losses = torch.stack([together.step() for _ in range(STEPS)])
    images = scale_pixels(digits.test_images[:200], runs[0].protocol.scale, torch.float32)
    accuracies = together.accuracies(images, digits.test_labels[:200])
    for i, run in enumerate(runs):
        theta, expected, accuracy = alone(run, digits)
        change = (theta - start[i]).norm()
        assert (together.theta[i] - theta).norm() <= TOLERANCE * change
        torch.testing.assert_close(losses[:, i], expected, rtol=1e-4, atol=1e-6)
        assert accuracies[i] == pytest.approx(accuracy, abs=1)  # two of 200 images
    assert not torch.equal(together.theta[0], together.theta[1])


def test_other_runs_do_not_train_together(digits) -> None:
    run = RUNS["the post's net"]
    for runs in (
        [run, run],
        [run, replace(run, dim=31, seed=1)],
        [replace(run, protocol=replace(run.protocol, bias_lr=2), seed=s) for s in (0, 1)],
    ):
        with pytest.raises(UserError):
            BatchedTraining(runs, digits)


@pytest.mark.parametrize("dim", [None, 20])
def test_records_of_a_batch_are_those_of_runs_alone(dim, digits, tmp_path) -> None:
    """Up to rounding; they name the batch, and are not taken for runs alone."""
    protocol = TrainingConfig(steps=4, batch=32, lr=3e-3, score_every=2)
    run = RunConfig("conv", "he", protocol)
    if dim:
        run = replace(run, dim=dim, projector="gaussian", scaling="fan-in")
    runs = [replace(run, seed=seed) for seed in (2, 5)]
    scores: list[int] = []
    records = train_together(runs, digits, lambda updates, accuracies: scores.append(updates))
    assert scores == [1, 3, 4]
    store = Store(tmp_path)
    for run, record in zip(runs, records, strict=True):
        assert record.run == replace(run, batched=True)
        assert record.provenance["batched_seeds"] == [2, 5]
        store.put(record)
        assert store.get(record.run) == record
        assert store.get(run) is None
        curve = train(run, digits).result["curve"]
        for (at, accuracy, loss), (there, expected, exact) in zip(
            record.result["curve"], curve, strict=True
        ):
            assert (at, accuracy) == (there, pytest.approx(expected, abs=1))
            assert loss == pytest.approx(exact, rel=1e-4)
    with pytest.raises(UserError):
        train(records[0].run, digits)


def test_a_diverged_run_of_a_batch_ends_its_curve() -> None:
    state = TrainingState()
    for updates, loss in ((1, 2.0), (2, float("nan")), (3, 1.0)):
        add_score(state, updates, 50.0, loss)
    assert (state.curve, state.extra) == ([[1, 50.0, 2.0]], {"diverged": 2})
    state = TrainingState()
    add_score(state, 1, float("nan"), 2.0)  # an output overflowed
    assert (state.curve, state.extra) == ([], {"diverged": 1})
