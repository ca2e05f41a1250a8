"""The check of this package: six short runs, each with a reference distribution.

They are short enough to run in CI and leave the plateau at once, so bugs show in their
accuracy. The bitwise comparison trains seed 0 again and compares the loss of every step, to
distinguish a change of numerics from a change of accuracy.
"""

from __future__ import annotations

import shutil
import struct
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from subspace_bench.common.errors import UserError
from subspace_bench.common.files import digest
from subspace_bench.common.validation import check_writable
from subspace_bench.datasets.catalog import EMBEDDED
from subspace_bench.datasets.dataset import Dataset
from subspace_bench.records import provenance
from subspace_bench.records.config import NUMERICS, RunConfig, non_default_fields
from subspace_bench.records.store import Store
from subspace_bench.regression import reference
from subspace_bench.regression.check import Results, Task
from subspace_bench.regression.reference import Reference
from subspace_bench.training import presets
from subspace_bench.training.executor import Event, describe_failure
from subspace_bench.training.runner import train_all

STEPS = 300
DIM = 1_000
MIN_SEEDS = 40  # of these references: with fewer, only large shifts would be detected
UNKNOWN = "unknown"  # the revision of a package outside git
REMEDY = "make one with `subspace-bench check --update-reference`"


def runs(dataset: str = "mnist") -> dict[str, RunConfig]:
    """The reference runs by name, with seed 0.

    Each uses, of a few learning rates, the one whose accuracy varies least over seeds: a smaller
    spread gives a smaller minimum detectable effect.
    """
    subspaces = {
        f"conv, d = {DIM:,}, {name}": presets.recipe(name, DIM, 0.4)
        for name in ("orthonormal", "fastfood", "hashed")
    }
    full_space = {
        "conv": presets.full_space("conv-plain", 1e-2),
        "MNIST-lite CNN": presets.full_space("cnn-10754", 2e-2),
        "FC": presets.full_space("fc", 5e-3),
    }
    return {
        name: shorten(replace(run, dataset=dataset))
        for name, run in (full_space | subspaces).items()
    }


def shorten(run: RunConfig) -> RunConfig:
    """The run cut to STEPS updates and scored at the end."""
    protocol = replace(run.protocol, steps=STEPS, score_first=STEPS, score_every=STEPS)
    return replace(run, protocol=protocol)


def identity(run: RunConfig, dataset: Dataset) -> dict[str, Any]:
    """The facts that a reference and a check must share.

    As in `RunConfig.hash`, fields at their default are left out, so that a field added later does
    not invalidate references. Data and numerics are separate entries, for clear errors.
    """
    content = {**non_default_fields(run), "protocol": non_default_fields(run.protocol)}
    content = {k: v for k, v in content.items() if k not in ("seed", "dataset", "numerics")}
    return {"data": dataset.digest, "numerics": NUMERICS, "run": digest(content)}


def require_identity(references: Mapping[str, Reference], dataset: Dataset) -> None:
    """Raises UserError, naming the difference, if references have other runs or data."""
    named = runs(dataset.name)
    if set(named) != set(references):
        raise UserError(
            f"the reference has other runs ({', '.join(references)}), not "
            f"{', '.join(named)}: {REMEDY}"
        )
    get_mnist = "get MNIST with `subspace-bench data`, or " if dataset.name == EMBEDDED else ""
    differences = {
        "data": f"other data than {dataset.name}: {get_mnist}{REMEDY}",
        "numerics": f"another numerics version: {REMEDY}",
        "run": f"another protocol: {REMEDY}",
    }
    for name, run in named.items():
        for key, value in identity(run, dataset).items():
            if references[name].identity.get(key) != value:
                raise UserError(f"the reference of {name!r} was made with {differences[key]}")
        if not all(0 <= value <= 100 for value in references[name].values):
            raise UserError(f"the reference of {name!r} has values that are no accuracy: {REMEDY}")


def origin() -> dict[str, Any]:
    """The machine, versions and code of a new reference."""
    machine, code = provenance.machine(), provenance.revision()
    facts = {name: machine[name] for name in (*provenance.DECIDING, "subspace-bench")}
    code = {**code, "revision": code["revision"] or UNKNOWN, "dirty": bool(code["dirty"])}
    return {**facts, **code}


@dataclass(frozen=True)
class Trainer:
    """Trains reference runs in worker processes.

    Attributes:
        root: folder of the data; None for the usual places.
        jobs: number of runs at a time.
        on_event: called with every event.
    """

    dataset: Dataset
    root: Path | None
    jobs: int
    on_event: Callable[[Event[RunConfig]], None]

    def __call__(self, tasks: Sequence[Task], folder: Path | None = None) -> Results:
        """The accuracy of each (run, seed) in %, or why there is none.

        Arguments:
            folder: stores records; runs that have one there are not trained again. Without a
                folder everything is trained, to test the current code.
        """
        named = runs(self.dataset.name)
        configs = {(name, seed): replace(named[name], seed=seed) for name, seed in tasks}
        with tempfile.TemporaryDirectory() as temporary:
            store = Store(folder or Path(temporary))
            missing = [run for run in configs.values() if store.get(run) is None]
            failures = train_all(missing, store, self.root, self.jobs, self.on_event)
            reasons = {event.case: event.reason for event in failures}
            return {task: _accuracy(run, store, reasons) for task, run in configs.items()}


def _accuracy(run: RunConfig, store: Store, reasons: Mapping[RunConfig, str]) -> float | str:
    record = store.get(run)
    if record is None:
        return f"seed {run.seed} failed: {reasons.get(run, 'no record')}"
    if "diverged" in record.result:
        return f"seed {run.seed} diverged"
    return float(record.result["accuracy_end"])


def update(path: Path, trainer: Trainer, seeds: int) -> tuple[dict[str, Reference], Path | None]:
    """Trains every reference again and saves it.

    Records stay beside the reference until all runs are trained. After an interruption the same
    command resumes, if code, data, versions and machine are the same.

    Returns:
        The new references, and where a damaged old file was moved to.

    Raises:
        UserError: if a run fails or diverges, or the file cannot be written.
    """
    check_writable(path.parent)
    made_with = origin()
    key = digest([made_with, trainer.dataset.digest])[:8]
    folder = path.with_suffix(f".{key}.update")
    named = runs(trainer.dataset.name)
    results = trainer([(name, seed) for name in named for seed in range(seeds)], folder)
    failures = [reason for reason in results.values() if isinstance(reason, str)]
    if failures:
        raise UserError(f"{len(failures)} runs failed, so no reference is saved: {failures[0]}")
    new = {
        name: Reference(
            tuple(float(results[name, seed]) for seed in range(seeds)),
            identity(run, trainer.dataset), made_with, losses(run, trainer.dataset),
        )
        for name, run in named.items()
    }  # fmt: skip
    moved_to = reference.save(path, new)
    shutil.rmtree(folder, ignore_errors=True)
    return new, moved_to


def compare_losses(references: Mapping[str, Reference], dataset: Dataset) -> dict[str, int | str]:
    """Trains seed 0 of every run and compares losses with the reference, bit for bit.

    Returns:
        By run: the first step, from 1, whose loss differs; 0 if none; why it failed, if it did.

    Raises:
        UserError: if the reference was made with other hardware or versions.
    """
    differences: dict[str, int | str] = {}
    for name, run in runs(dataset.name).items():
        if not provenance.same_hardware(references[name].origin):
            raise UserError(
                "the reference was made on other hardware or with other versions, where bits "
                "differ: check without --bitwise, or update the reference here"
            )
        if len(references[name].losses) != 8 * run.protocol.steps:
            raise UserError(f"the reference of {name!r} lacks losses: {REMEDY}")
        try:
            differences[name] = first_difference(losses(run, dataset), references[name].losses)
        except Exception as failure:
            differences[name] = describe_failure(failure)
    return differences


def losses(run: RunConfig, dataset: Dataset) -> str:
    """The float32 loss of every step of a run, in hexadecimal."""
    from subspace_bench.training.loop import loss_curve

    return b"".join(struct.pack("<f", loss) for loss in loss_curve(run, dataset)).hex()


def first_difference(a: str, b: str) -> int:
    """The first step, from 1, at which two `losses` differ; 0 if they are equal."""
    for i in range(0, max(len(a), len(b)), 8):
        if a[i : i + 8] != b[i : i + 8]:
            return i // 8 + 1
    return 0
