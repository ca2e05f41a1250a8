"""Training steps of the post's conv net, one run alone and many as a batch; QR on the device."""

from __future__ import annotations

import statistics
from dataclasses import replace
from functools import partial

import torch

from benchmarks.gpu.costs import fits_device, step_costs, stored_bytes
from benchmarks.gpu.kernel_checks import require
from benchmarks.gpu.stages import Item, Setting, Values
from subspace_bench.common.rng import seed_torch
from subspace_bench.datasets.catalog import EMBEDDED
from subspace_bench.datasets.dataset import Dataset
from subspace_bench.datasets.loading import load_or_embedded
from subspace_bench.profiling.stopwatch import Stopwatch
from subspace_bench.projectors.orthonormal import orthonormalise_
from subspace_bench.records.config import RunConfig
from subspace_bench.training import presets
from subspace_bench.training.batched import WARM_UPS, BatchedTraining
from subspace_bench.training.loop import (
    make_batches,
    make_cuda_deterministic,
    prepare,
    step,
)
from subspace_bench.training.optimizers import make_optimizer

DIMS = (None, 1_000, 10_000)
NETS = (1, 5, 25, 100, 400)
NATIVE, EPOCHS = presets.native("conv"), 10
SAMPLES = 9
MOST_BYTES = 10_000_000_000  # of the columns of all nets, which the host draws at 1 GB/s or less
ORTHONORMAL = 1e-5


def items(setting: Setting) -> list[Item]:
    """Steps alone, then steps together, then QR on the device."""
    dims = (None, 10) if setting.dry else DIMS
    nets = (2,) if setting.dry else NETS
    found = [Item(f"alone, d = {show(dim)}", partial(alone, dim, setting)) for dim in dims]
    found += [Item(f"{count} nets, d = {show(dim)}", partial(together, dim, count, setting))
              for dim in dims for count in nets]  # fmt: skip
    return [*found, *(Item(f"QR of {show(dim)} columns", partial(qr, dim, setting))
                      for dim in dims if dim)]  # fmt: skip


def show(dim: int | None) -> str:
    return "D" if dim is None else f"{dim:,}"


def make_run(dim: int | None, setting: Setting, projector: str = "gaussian") -> RunConfig:
    """The post's run; with Gaussian columns, which need no QR and cost a step the same."""
    run = replace(presets.post("conv", None, EPOCHS), device=setting.device)
    if setting.dry:
        run = replace(run, protocol=replace(run.protocol, batch=4))
    return run if dim is None else replace(run, dim=dim, projector=projector)


def load(setting: Setting) -> Dataset:
    """MNIST, or the embedded digits; also sets torch up as training on CUDA does."""
    if setting.device == "cuda":
        make_cuda_deterministic()
    return load_or_embedded(EMBEDDED if setting.dry else "mnist")


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
    return {"nets": 1, "step_ms": 1e3 * statistics.median(times), **step_costs(run, 1)}


def together(dim: int | None, count: int, setting: Setting) -> Values:
    """Milliseconds of a step of `count` nets: whole, with batches and dropout masks, and of its
    CUDA graph alone."""
    run = make_run(dim, setting)
    if not fits_device(run, count, setting) or count * stored_bytes(run, NATIVE) > MOST_BYTES:
        return {"status": "does not fit: its columns need too much memory, or are drawn too long"}
    if setting.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    training = BatchedTraining([replace(run, seed=seed) for seed in range(count)], load(setting))
    stopwatch, samples = Stopwatch(setting.device, cold=False), 1 if setting.dry else SAMPLES
    for _ in range(WARM_UPS + 1):  # the last records the graph
        training.step()
    whole = [stopwatch.host_seconds(partial(several, training, setting)) / several_steps(setting)
             for _ in range(samples)]  # fmt: skip
    values: Values = {"nets": count, "step_ms": 1e3 * statistics.median(whole)}
    values["net_steps_per_s"] = count / statistics.median(whole)
    values["nets_per_s"] = values["net_steps_per_s"] / run.protocol.steps
    if training.recorded:
        replay = training.recorded.graph.replay
        graph = [stopwatch.device_seconds(replay) for _ in range(samples)]
        values["graph_ms"] = 1e3 * statistics.median(graph)
        values["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return values | step_costs(run, count)


def several_steps(setting: Setting) -> int:
    """Steps that are timed together, so that the host may run ahead of the device."""
    return 1 if setting.dry else 20


def several(training: BatchedTraining, setting: Setting) -> None:
    for _ in range(several_steps(setting)):
        training.step()


def qr(dim: int, setting: Setting) -> Values:
    """Seconds to orthonormalise one P on the device, and the largest error of its products."""
    native = 300 if setting.dry else NATIVE
    columns = torch.randn(dim, native, device=setting.device)
    stopwatch = Stopwatch(setting.device, cold=False)
    orthonormalise_(columns[:2].clone())  # libraries set themselves up
    seconds = stopwatch.host_seconds(lambda: orthonormalise_(columns))
    some = columns[:: max(1, dim // 1_000)].double()
    error = float((some @ some.T - torch.eye(len(some), device=columns.device)).abs().max())
    require(error < ORTHONORMAL, f"columns are orthonormal to {error:.2g} only")
    return {"seconds_qr": seconds, "error": error}
