"""`subspace-bench train` and `list`: one run from its options, and what there is to choose from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from subspace_bench import models, projectors
from subspace_bench.common.errors import UserError
from subspace_bench.common.formatting import format_bytes, format_duration
from subspace_bench.datasets import loading
from subspace_bench.experiments import STUDIES
from subspace_bench.records.config import NUMERICS, RunConfig
from subspace_bench.records.store import Record, Store
from subspace_bench.training import presets
from subspace_bench.training.cost import estimate, memory_together
from subspace_bench.training.executor import Event
from subspace_bench.training.runner import train_all


def post_like(
    model: str,
    dim: int | None,
    projector: str,
    origin: str | None,
    init: str | None,
    epochs: int,
    steps: int | None,
    changes: Mapping[str, Any],
    **rest: Any,
) -> RunConfig:
    """The run that the post would make of these options; what is None is the post's own.

    Arguments:
        changes: to the protocol.
        rest: further fields of the run.
    """
    length = steps or presets.epochs(epochs)
    given = {name: value for name, value in changes.items() if value is not None}
    protocol = presets.protocol("post", steps=length, **given)
    scheme = init or presets.protocols()["post"]["init"].get(model, "default")
    run = RunConfig(model, scheme, protocol, **rest)
    if dim is None:
        return run
    contains_init = "first" in projectors.load(projector).accepts
    start = origin or ("zero" if contains_init else "init")
    return replace(run, dim=dim, projector=projector, origin=start)


def train_one(
    run: RunConfig, own: Store, root: Path | None, screen: Console, again: bool
) -> list[Event[RunConfig]]:
    """Trains a run that has no record, shows its curve, and returns the failure, if any."""
    record = None if again else own.get(run)
    if record is not None:
        screen.print(f"{run.label} has its record: {describe(record)}\n{own.path(run)}")
        return []
    dataset = loading.load(run.dataset, root)
    if run.protocol.batch > len(dataset.train_labels):
        raise UserError(
            f"--batch is {run.protocol.batch}: "
            f"{run.dataset} has {len(dataset.train_labels):,} images to train on"
        )
    cost = estimate(run)
    screen.print(
        f"{run.label} on {run.dataset}: {run.protocol.steps:,} updates, about "
        f"{format_duration(cost.seconds)}, {format_bytes(memory_together([cost], 1))} of memory"
    )
    if again:
        own.discard(run)

    def tell(message: Event[RunConfig]) -> None:
        if message.kind == "progress" and message.value.accuracy is not None:
            progress = message.value
            left = progress.seconds * (run.protocol.steps / progress.updates - 1)
            screen.print(
                f"update {progress.updates:>7,}  {progress.accuracy:6.2f}%  "
                f"{format_duration(left)} left"
            )

    failures = train_all([run], own, root, 1, tell)
    record = own.get(run)
    if record is not None:
        screen.print(f"{describe(record)}\n{own.path(run)}")
    return failures


def describe(record: Record) -> str:
    """What a record says, in a line."""
    result = record.result
    free = f"{result['free_parameters']:,} of {result['native_dimension']:,} parameters free"
    if "diverged" in result:
        return f"diverged at update {result['diverged']:,}, {free}"
    return f"{result['accuracy_end']:.2f}% after {record.run.protocol.steps:,} updates, {free}"


def inventory(stores: Mapping[str, Store | None]) -> list[tuple[str, pd.DataFrame]]:
    """Tables, models, projectors and records, each with its title."""
    tables = [{"table": e.name, "shows": e.title} for e in STUDIES.values()]
    nets = [
        {"model": name, "parameters": f"{models.parameter_count(models.build(name)):,}"}
        for name in models.MODELS
    ]
    maps = [{"projector": name, "": what_it_is(name)} for name in projectors.names()]
    kept = [counted(name, store) for name, store in stores.items()]
    titled = {"Tables": tables, "Models": nets, "Projectors": maps, "Records": kept}
    return [(title, pd.DataFrame(rows)) for title, rows in titled.items()]


def what_it_is(name: str) -> str:
    """The first line of a projector's documentation, or why it cannot be had."""
    try:
        return ((projectors.load(name).__doc__ or "").strip().splitlines() or [""])[0]
    except UserError as failure:
        return str(failure)


def counted(name: str, store: Store | None) -> dict[str, str]:
    """How many records a store has, and how many of them another numerics version made."""
    found = list(store.records()) if store else []
    stale = sum(record.run.numerics != NUMERICS for record in found)
    folder = str(store.folder) if store else "none with this copy"
    return {"records": name, "current": str(len(found) - stale), "stale": str(stale), "in": folder}
