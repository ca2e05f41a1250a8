"""Our own reference runs: short trainings that leave the plateau at once, and so react to faults.

The exact mode trains seed 0 again and compares the loss of every step, bit for bit: it tells a
change of numerics from a change of accuracy.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from subspace_bench.common.files import digest
from subspace_bench.datasets.dataset import Dataset
from subspace_bench.records import provenance
from subspace_bench.records.config import NUMERICS, RunConfig
from subspace_bench.records.store import Store
from subspace_bench.regression.check import Measured, Task
from subspace_bench.regression.reference import Reference
from subspace_bench.training import presets
from subspace_bench.training.executor import Event
from subspace_bench.training.runner import train_all

STEPS = 300
DIM = 1_000
UNKNOWN = "unknown"  # the revision of a package outside git
Measure = Callable[[Sequence[Task]], Measured]


def runs(dataset: str = "mnist") -> dict[str, RunConfig]:
    """The reference runs by name, with seed 0.

    Their rates are those, of a few tried, whose accuracies spread least over seeds, for a small
    spread is what lets a small shift be seen.
    """
    subspaces = {
        f"conv, d = {DIM:,}, {name}": presets.recipe(name, DIM, 0.4)
        for name in ("orthonormal", "fastfood", "hashed")
    }
    direct = {
        "conv": presets.direct("conv-plain", 1e-2),
        "MNIST-lite CNN": presets.direct("cnn-10754", 2e-2),
        "FC": presets.direct("fc", 5e-3),
    }
    return {
        name: shortened(replace(run, dataset=dataset)) for name, run in (direct | subspaces).items()
    }


def shortened(run: RunConfig) -> RunConfig:
    """STEPS updates, scored at the end."""
    protocol = replace(run.protocol, steps=STEPS, score_first=STEPS, score_every=STEPS)
    return replace(run, protocol=protocol)


def identity(run: RunConfig, dataset: Dataset) -> dict[str, Any]:
    """What must not differ between a reference and a check."""
    protocol = {**asdict(run), "seed": 0, "dataset": "", "numerics": 0}
    del protocol["draws"]  # not there when the reference was made
    return {"data": dataset.digest, "numerics": NUMERICS, "run": digest(protocol)}


def origin() -> dict[str, Any]:
    """Where a reference is made."""
    here = provenance.machine()
    known = {name: here[name] for name in provenance.DECIDING}
    code = provenance.revision()
    return {**known, "revision": code["revision"] or UNKNOWN, "dirty": bool(code["dirty"])}


def measurer(
    dataset: str,
    root: Path | None,
    jobs: int,
    tell: Callable[[Event[RunConfig]], None],
    folder: Path | None = None,
) -> Measure:
    """Trains tasks, `jobs` at a time.

    Arguments:
        folder: keeps the records, and those that it has already count; without one, each task is
            trained anew, whatever records there are.
    """
    named = runs(dataset)

    def measure(tasks: Sequence[Task]) -> Measured:
        wanted = {task: replace(named[task[0]], seed=task[1]) for task in tasks}
        with tempfile.TemporaryDirectory() as temporary:
            store = Store(folder or Path(temporary))
            failures = train_all(
                [run for run in wanted.values() if store.get(run) is None], store, root, jobs, tell
            )
            reasons = {failure.case: failure.reason for failure in failures}
            return {task: number(run, store, reasons) for task, run in wanted.items()}

    return measure


def number(run: RunConfig, store: Store, reasons: Mapping[RunConfig, str]) -> float | str:
    """A run's accuracy in %, or why there is none."""
    record = store.get(run)
    if record is None:
        return f"seed {run.seed} failed: {reasons.get(run, 'no record')}"
    if "diverged" in record.result:
        return f"seed {run.seed} diverged"
    return float(record.result["accuracy_end"])


def losses(run: RunConfig, dataset: Dataset) -> str:
    """The float32 loss of every step of a run, in hexadecimal."""
    from subspace_bench.training.loop import loss_curve

    return b"".join(struct.pack("<f", loss) for loss in loss_curve(run, dataset)).hex()


def first_difference(ours: str, theirs: str) -> int | None:
    """The first step, from 1, whose loss has other bits; None where all are the same."""
    for i in range(0, max(len(ours), len(theirs)), 8):
        if ours[i : i + 8] != theirs[i : i + 8]:
            return i // 8 + 1
    return None


def same_hardware(reference: Reference) -> bool:
    """Whether bits are to be expected: the same class of machine, and the same versions."""
    return provenance.same_hardware(reference.origin)
