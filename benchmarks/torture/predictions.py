"""Memory and time: predicted before a run starts, measured after it; and no growth over time."""

from __future__ import annotations

import multiprocessing
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.torture import processes, tiny
from benchmarks.torture.campaigns import Row, Setting
from subspace_bench import models, projectors
from subspace_bench.common.errors import UserError
from subspace_bench.common.hardware import peak_memory, reset_peak_memory, resident_memory
from subspace_bench.datasets.download import DatasetUnavailable
from subspace_bench.datasets.embedded import embedded_digits
from subspace_bench.datasets.loading import load
from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Store
from subspace_bench.training import preflight as checking
from subspace_bench.training.cost import estimate, estimator
from subspace_bench.training.loop import train
from subspace_bench.training.presets import recipe

preflight: Any = checking  # whose view of the free memory is replaced
WITHIN = 0.15  # of what is then taken
# Smaller errors do not count: they are 1% of what a training takes without a projector, and what
# threads and allocators keep varies as much.
NEGLIGIBLE = 10e6  # bytes
SIZES = ((199_210, 1_000), (1_000_000, 300), (10_000_000, 20))


def rows(setting: Setting) -> Iterator[Row]:
    about = f"predicted within {WITHIN:.0%} or {NEGLIGIBLE / 1e6:.0f} MB"
    title = f"memory of `train`, not forked, with each model, {about}"
    try:
        load("mnist")
        yield trainings(setting, title)
    except DatasetUnavailable:
        yield Row(title, measured="not tried: MNIST is not here")

    tiny.shrink(setting.work)
    row = Row(f"memory of a projector, {about}")
    errors: list[float] = []
    names = [name for name in projectors.names() if name in projectors.registry.BUILT_IN]
    for name, (native, dim) in list(product(names, SIZES))[:: setting.times(1, 6)]:
        size = projectors.footprint(name, native, dim)
        predicted = size.resident_bytes + size.workspace_bytes
        taken = in_process("forkserver", bytes_taken, name, native, dim)
        row.count(*judge(f"{name} {native:,} × {dim:,}", predicted, taken, errors))
    row.measured = spread(errors)
    yield row

    yield training_times(setting)

    row = Row("runs that do not fit are refused, by `train` and by `reproduce`")
    for dim, free in product((1_000, 10_000), (1e8, 5e8, 8e8)):
        run = recipe("gaussian", dim, 0.1)
        for refuse in (refused_alone, refused_together):
            row.count(*([] if refuse(run, free) else [f"{run.label} started with {free:g} bytes"]))
    yield row

    row = Row("updates without growth of memory")
    run = tiny.runs()[2].with_steps(setting.times(10_000, 300))
    growth = in_process("fork", bytes_grown, run)
    row.times = run.protocol.steps
    row.report(*([] if growth < 5e6 else [f"{growth / 1e6:.1f} MB more at the end than halfway"]))
    row.measured = f"{growth / 1e6:+.1f} MB in the second half"
    yield row


def trainings(setting: Setting, tried: str) -> Row:
    """Records of a few updates of each model: the memory in them, and what was predicted."""
    row = Row(tried)
    errors: list[float] = []
    for model in list(models.MODELS)[:: setting.times(1, 9)]:
        run = ["--model", model, "--steps", "20", "--dataset", "mnist", "--device", "cpu"]
        out = setting.work / model
        command = processes.run(["train", *run, "--out", str(out)], setting.work / "log", real=True)
        records = list(Store(out / "runs").records())
        wrong = [] if records else [command.describe()]
        for record in records:
            taken = 1e6 * record.provenance["peak_memory_mb"]
            wrong += judge(model, estimate(record.run).memory, taken, errors)
        row.count(*wrong)
    row.measured = spread(errors)
    return row


def training_times(setting: Setting) -> Row:
    """Seconds of training, predicted from the record of a run of a quarter of its updates.

    Other processes slow single runs down, so both are repeated in turn and the median is judged.
    """
    repeats = setting.times(5, 1)
    row = Row(
        f"time of a training with each projector, predicted from a shorter one within {WITHIN:.0%}"
        f" (median of {repeats})"
    )
    errors = []
    for run in timed_runs()[:: setting.times(1, 6)]:
        short, long = (run.with_steps(setting.times(n, n // 4)) for n in (100, 400))
        train(short, embedded_digits())  # compiles kernels
        pairs = []
        for _ in range(repeats):
            expected = estimator([train(short, embedded_digits())])(long).training
            taken = train(long, embedded_digits()).provenance["seconds_training"]
            pairs.append((expected - taken) / taken)
        errors.append(statistics.median(pairs))
        wrong = abs(errors[-1]) > WITHIN and not setting.short  # the short form is not for timing
        row.count(*([f"{run.projector}: {errors[-1]:+.0%}"] if wrong else []))
    row.measured = f"from {min(errors):+.0%} to {max(errors):+.0%}"
    return row


def timed_runs() -> list[RunConfig]:
    """The small runs, and one with each projector in a subspace of the larger dense net."""
    net = replace(tiny.runs()[3], model="fc", dim=20)
    names = [name for name in projectors.names() if name in projectors.registry.BUILT_IN]
    return tiny.runs() + [replace(net, projector=name) for name in names]


def judge(name: str, predicted: float, taken: float, errors: list[float]) -> list[str]:
    """What is wrong with a prediction; adds its relative error to `errors`, if it counts."""
    if abs(predicted - taken) <= NEGLIGIBLE:
        return []
    errors.append((predicted - taken) / taken)
    if abs(errors[-1]) <= WITHIN:
        return []
    return [f"{name}: {predicted / 1e6:.0f} MB predicted, {taken / 1e6:.0f} MB taken"]


def spread(errors: list[float]) -> str:
    """The errors in words."""
    few = f"{len(errors)} of them by more than {NEGLIGIBLE / 1e6:.0f} MB"
    return f"{few}: from {min(errors):+.0%} to {max(errors):+.0%}" if errors else few


def in_process(method: str, function: Callable[..., float], *arguments: object) -> float:
    """What a function returns in a new process.

    Arguments:
        method: "fork", with this process's patches, or "forkserver". This process has freed memory,
            which a fork would use again instead of taking more.
    """
    context: Any = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload([__name__])
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(writer, function, *arguments))
    process.start()
    writer.close()
    value = float(reader.recv())
    process.join()
    return value


def _send(writer: Connection, function: Callable[..., float], *arguments: object) -> None:
    writer.send(function(*arguments))


def bytes_taken(name: str, native: int, dim: int) -> float:
    """The peak of memory while P is made and applied in both directions, beyond the vectors'."""
    import torch

    torch.set_num_threads(1)
    small = projectors.make(name, 3_000, 32, 0)
    small.transpose(small.forward(torch.zeros(32)))  # compiles kernels
    theta, omega = torch.zeros(native), torch.zeros(dim)
    reset_peak_memory()
    before = resident_memory()
    p = projectors.make(name, native, dim, 0)
    with torch.no_grad():
        out = p.forward(omega)
        back = p.transpose(theta)
    vectors = 4.0 * (out.numel() + back.numel())
    return max(0.0, peak_memory() - before - vectors)


def bytes_grown(run: RunConfig) -> float:
    """How much more memory the process has after the last update than halfway."""
    seen = []
    updates = run.protocol.steps
    scored = replace(run, protocol=replace(run.protocol, score_every=updates // 10))
    train(scored, embedded_digits(), on_progress=lambda _: seen.append(resident_memory()))
    return float(seen[-1] - seen[len(seen) // 2])


def refused_alone(run: RunConfig, free: float) -> bool:
    preflight.available_memory = lambda: free
    return _refuses(lambda: preflight.require_trainable(run))


def refused_together(run: RunConfig, free: float) -> bool:
    preflight.available_memory = lambda: free
    preflight.resident_memory = lambda: 0
    return _refuses(lambda: preflight.choose_jobs({run.label: estimate(run)}, None))


def _refuses(start: object) -> bool:
    try:
        start()  # type: ignore[operator]
    except UserError:
        return True
    return False
