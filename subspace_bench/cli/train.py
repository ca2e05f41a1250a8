"""`subspace-bench train`: one run from its options."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from subspace_bench.cli.options import (
    Data,
    Dataset,
    Device,
    Force,
    Out,
    report_failures,
    report_interruption,
)
from subspace_bench.cli.tensorboard import Scalars, Tensorboard
from subspace_bench.common import validation
from subspace_bench.common.errors import UserError
from subspace_bench.common.formatting import format_bytes, format_duration, make_console

if TYPE_CHECKING:
    from subspace_bench.records.config import RunConfig
    from subspace_bench.records.store import Record
    from subspace_bench.training.executor import Event

MOST_THREADS = 1_024


def train(
    name: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A model that `list` shows.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The same. Default: conv.")] = None,
    dim: Annotated[
        int | None, typer.Option(help="Subspace dimension d. Default: train all parameters.")
    ] = None,
    projector: Annotated[
        str, typer.Option(help="A projector that `list` shows; orthonormal is the post's.")
    ] = "orthonormal",
    origin: Annotated[
        str | None,
        typer.Option(
            help="zero: θ = Pω, the default for orthonormal. init: θ = θ_init + Pω, for others."
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(help='Initialisation, such as "normal:0.005". Default: the post\'s.'),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all random streams.")] = 0,
    steps: Annotated[
        int | None, typer.Option(help="Number of updates. Default: 10 epochs of the post, 2344.")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate. Default: the post's.")] = None,
    dataset: Dataset = "mnist",
    device: Device = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads; each number has its own record.")] = 1,
    data: Data = None,
    out: Out = Path("results"),
    tensorboard: Tensorboard = None,
    force: Force = False,
) -> int:
    """Train one network, with the post's protocol by default, and store its record."""
    if name is not None and model is not None:
        raise UserError(f"give one model: {name} or --model {model}")
    model = name or model or "conv"
    validation.require_at_least(0, seed=seed)
    validation.require_at_least(1, steps=steps)
    validation.require_at_least(1, MOST_THREADS, threads=threads)
    validation.require_positive(lr=lr)
    validation.require_choice("origin", [origin] if origin else [], ("zero", "init"))
    validation.check_output_dir(out)
    from subspace_bench import projectors
    from subspace_bench.datasets import loading
    from subspace_bench.records.config import RunConfig
    from subspace_bench.records.store import Store
    from subspace_bench.training import presets, runner
    from subspace_bench.training.preflight import require_trainable

    changes = {} if lr is None else {"lr": lr}
    protocol = presets.protocol("post", steps=steps or presets.epochs(10), **changes)
    init = init or presets.protocols()["post"]["init"].get(model, "default")
    run = RunConfig(
        model, init, protocol,
        seed=seed, dataset=dataset, device=validation.resolve_device(device), threads=threads,
    )  # fmt: skip
    if dim is not None:
        through_zero = "first" in projectors.load(projector).accepts
        origin = origin or ("zero" if through_zero else "init")
        run = replace(run, dim=dim, projector=projector, origin=origin)
    cost = require_trainable(run)

    store, console = Store(out / "runs"), make_console()
    validation.check_writable(store.folder)
    scalars = Scalars(tensorboard)
    record = None if force else store.get(run)
    if record is not None:
        console.print(f"{run.label} is trained: {describe_record(record)}\n{store.path(run)}")
        return 0
    loading.load(run.dataset, data)  # fail now, not in the worker, if files are missing or damaged
    console.print(
        f"{run.label} on {run.dataset}: {run.protocol.steps:,} updates, about "
        f"{format_duration(cost.seconds)} and {format_bytes(cost.memory)} of memory"
    )
    if force:
        store.discard(run)

    def on_event(event: Event[RunConfig]) -> None:
        scalars.on_event(event)
        if event.kind == "progress" and event.value.accuracy is not None:
            progress = event.value
            left = progress.seconds * (run.protocol.steps / progress.updates - 1)
            console.print(
                f"update {progress.updates:>7,}  {progress.accuracy:6.2f}%  "
                f"{format_duration(left)} left"
            )
        elif event.kind == "claimed":
            console.print("another process trains this run: waiting for its record")
        elif event.kind == "done":
            console.print(f"{describe_record(event.value)}\n{store.path(run)}")

    try:
        failures = runner.train_all([run], store, data, 1, on_event)
    except KeyboardInterrupt:
        if not store.checkpoint(run).exists():
            raise
        return report_interruption(f"its checkpoint is kept in {store.checkpoint(run)}")
    return report_failures(failures, {run: run.label})


def describe_record(record: Record) -> str:
    """The result of a record, in one line."""
    result = record.result
    free = f"{result['free_parameters']:,} of {result['native_dimension']:,} parameters free"
    if "diverged" in result:
        return f"diverged at update {result['diverged']:,}, {free}"
    return f"{result['accuracy_end']:.2f}% after {record.run.protocol.steps:,} updates, {free}"
