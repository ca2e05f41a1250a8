"""Training steps of the post's conv net: one run alone, many runs as one batch, and a whole cell
of its main table trained on the device."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from functools import partial

import torch

from benchmarks.gpu.stages import Item, Setting, Values
from subspace_bench.common.rng import seed_torch
from subspace_bench.datasets.batches import scale_pixels
from subspace_bench.datasets.dataset import Dataset
from subspace_bench.datasets.loading import load_or_embedded
from subspace_bench.profiling.stopwatch import Stopwatch, recorded
from subspace_bench.records.config import RunConfig
from subspace_bench.training import presets
from subspace_bench.training.batched import BatchedTraining
from subspace_bench.training.loop import (
    make_batches,
    make_cuda_deterministic,
    prepare,
    scored_images,
    step,
)
from subspace_bench.training.optimizers import make_optimizer

DIMS = (None, 1_000, 10_000)
NETS = (1, 5, 25, 100, 400)
SEEDS, EPOCHS = 5, 10  # of the cell that is trained
SAMPLES = 9
MOST_BYTES = 10_000_000_000  # of the columns of all nets, which the host draws
LIMIT_SECONDS = 90.0


def items(setting: Setting) -> list[Item]:
    """Steps alone, then steps together, then a whole cell, then QR on the device."""
    dims = (None, 10) if setting.dry else DIMS
    nets = (2,) if setting.dry else NETS
    found = [Item(f"alone, d = {show(dim)}", partial(alone, dim, setting)) for dim in dims]
    found += [Item(f"{count} nets, d = {show(dim)}", partial(together, dim, count, setting))
              for dim in dims for count in nets]  # fmt: skip
    found += [Item(f"{SEEDS} seeds for {EPOCHS} epochs, d = {show(dim)}",
                   partial(train_cell, dim, setting), LIMIT_SECONDS)
              for dim in dims[:2]]  # fmt: skip
    return [*found, *(Item(f"QR of {show(dim)} columns", partial(qr, dim, setting))
                      for dim in dims if dim)]  # fmt: skip


def show(dim: int | None) -> str:
    return "D" if dim is None else f"{dim:,}"


def make_run(dim: int | None, setting: Setting, projector: str = "gaussian") -> RunConfig:
    """The post's run; with Gaussian columns, which need no QR and cost a step the same."""
    run = replace(presets.post("conv", None, EPOCHS), device=setting.device)
    return run if dim is None else replace(run, dim=dim, projector=projector)


def load(setting: Setting) -> Dataset:
    """MNIST, or the embedded digits; also sets torch up as training on CUDA does."""
    if setting.device == "cuda":
        make_cuda_deterministic()
    return load_or_embedded()


def alone(dim: int | None, setting: Setting) -> Values:
    """Milliseconds of a step of the training loop, by the wall clock."""
    run, dataset = make_run(dim, setting), load(setting)
    net = prepare(run)
    optimizer, batches, updates = make_optimizer(run, net), make_batches(run, dataset), iter(
        range(10**9)
    )  # fmt: skip

    def one_step() -> None:
        i = next(updates)
        x, y = batches(i)
        seed_torch(run.seed, "dropout", i)
        step(net, optimizer, x, y)

    stopwatch, count = Stopwatch(setting.device, cold=False), 2 if setting.dry else 20
    for _ in range(3):
        one_step()

    def several() -> None:
        for _ in range(count):
            one_step()

    times = [stopwatch.host_seconds(several) / count for _ in range(1 if setting.dry else SAMPLES)]
    return {"nets": 1, "step_ms": 1e3 * statistics.median(times)}


def together(dim: int | None, count: int, setting: Setting) -> Values:
    """Milliseconds of a step of `count` nets: as launched by the host, and as a CUDA graph, which
    leaves out batches and dropout masks; nets per second are those of the graph."""
    if dim and 4 * count * dim * presets.native("conv") > MOST_BYTES:
        return {"status": "does not fit: its columns need more than 10 GB"}
    dataset, run = load(setting), make_run(dim, setting)
    training = BatchedTraining([replace(run, seed=seed) for seed in range(count)], dataset)
    stopwatch, samples = Stopwatch(setting.device, cold=False), 1 if setting.dry else SAMPLES
    for _ in range(2):
        training.step()
    eager = [stopwatch.host_seconds(training.step) for _ in range(samples)]
    values: Values = {"nets": count, "step_ms": 1e3 * statistics.median(eager)}
    pairs = [batches(0) for batches in training.batches]
    x, y = (torch.stack(parts) for parts in zip(*pairs, strict=True))
    masks = training.draw_masks(x)
    if setting.device == "cuda":
        for group in training.optimizer.param_groups:
            group["capturable"] = True
        for state in training.optimizer.state.values():
            state["step"] = state["step"].to(setting.device)
    with recorded(lambda: training.update(x, y, masks), 1, setting.device) as replay:
        graph = [stopwatch.device_seconds(replay) for _ in range(samples)]
    values["graph_ms"] = 1e3 * statistics.median(graph)
    values["net_steps_per_s"] = count / statistics.median(graph)
    values["nets_per_s"] = values["net_steps_per_s"] / run.protocol.steps
    if setting.device == "cuda":
        values["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
        torch.cuda.reset_peak_memory_stats()
    return values


def train_cell(dim: int | None, setting: Setting) -> Values:
    """Trains all seeds of a cell of the post's table together, and scores them."""
    run, dataset = make_run(dim, setting), load(setting)
    if dim is not None:  # as in the post: orthonormal columns, θ₀ = 0
        run = replace(run, projector="orthonormal", origin="zero")
    began = time.perf_counter()
    training = BatchedTraining([replace(run, seed=seed) for seed in range(SEEDS)], dataset)
    set_up = time.perf_counter() - began
    began = time.perf_counter()
    for _ in range(3 if setting.dry else run.protocol.steps):
        training.step()
    few = slice(100 if setting.dry else None)
    images, labels = (part[few].to(setting.device) for part in scored_images(run, dataset))
    scaled = scale_pixels(images, run.protocol.scale, torch.float32)
    accuracies = training.accuracies(scaled, labels)
    seconds = time.perf_counter() - began
    return {
        "nets": SEEDS,
        "seconds_set_up": set_up,
        "seconds_training": seconds,
        "accuracy": statistics.mean(accuracies),
        "accuracy_sd": statistics.stdev(accuracies),
        "dataset": dataset.name,
    }


def qr(dim: int, setting: Setting) -> Values:
    """Seconds of the QR decomposition on the device that `orthonormal` does on the host."""
    a = torch.randn(300 if setting.dry else presets.native("conv"), dim, device=setting.device)
    stopwatch = Stopwatch(setting.device, cold=False)
    torch.linalg.qr(a[:, :8])
    return {"seconds_qr": stopwatch.host_seconds(lambda: torch.linalg.qr(a))}
