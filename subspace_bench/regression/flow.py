"""The flows of `subspace-bench check`: judge, rebase, exact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from rich.console import Console

from subspace_bench.data import Dataset, load_or_embedded
from subspace_bench.engines import Message
from subspace_bench.errors import UserError
from subspace_bench.regression import checking, suite
from subspace_bench.regression.reference import Reference, load, save, side_by_side
from subspace_bench.runs import write_atomically
from subspace_bench.terminal import show

REMEDY = "make one with `subspace-bench check --rebase`"


@dataclass(frozen=True)
class Work:
    """Where the reference and the data are, and how runs are carried out."""

    path: Path
    data: Path | None
    jobs: int
    screen: Console

    def measurer(self, dataset: Dataset) -> suite.Measure:
        return suite.measurer(dataset.name, self.data, self.jobs, self.tell)

    def tell(self, message: Message) -> None:
        if message.kind in ("done", "failed"):
            said = message.reason or f"{message.accuracy:.2f}%"
            self.screen.print(f"{message.run.label}: {said}")


def check(work: Work, alpha: float, report: Path | None) -> int:
    """Judges every reference; prints and writes the outcome; returns the exit code."""
    references = load(work.path, REMEDY)
    dataset = load_or_embedded(root=work.data)
    belongs(references, dataset)
    outcomes = checking.check(references, work.measurer(dataset), alpha)
    show(work.screen, "Accuracy check", checking.frame(outcomes))
    if report is not None:
        kinds = [report.suffix] if report.suffix in (".md", ".xml") else [".md", ".xml"]
        for kind in kinds:
            text = checking.junit(outcomes) if kind == ".xml" else (
                checking.markdown(outcomes, alpha))  # fmt: skip
            write_atomically(report.with_suffix(kind), text)
    return checking.exit_code(outcomes)


def belongs(references: Mapping[str, Reference], dataset: Dataset) -> None:
    """The references were made from this data and these protocols.

    Raises:
        UserError: names what differs.
    """
    runs = suite.runs(dataset.name)
    if set(runs) != set(references):
        raise UserError(
            f"the reference is of other runs ({', '.join(references)}), not "
            f"{', '.join(runs)}: {REMEDY}"
        )
    for name, run in runs.items():
        here = suite.identity(run, dataset)
        for key, value in here.items():
            if references[name].identity.get(key) != value:
                what = {"run": "protocol", "data": "data"}.get(key, f"{key} version")
                raise UserError(f"the reference of {name!r} is of another {what}: {REMEDY}")


def rebase(work: Work, seeds: int) -> int:
    """Trains every reference anew, shows old and new side by side, and keeps both."""
    old = load(work.path, REMEDY) if work.path.exists() else {}
    dataset = load_or_embedded(root=work.data)
    runs = suite.runs(dataset.name)
    tasks = [(name, seed) for name in runs for seed in range(seeds)]
    found = work.measurer(dataset)(tasks)
    lost = [reason for reason in found.values() if isinstance(reason, str)]
    if lost:
        raise UserError(f"{len(lost)} runs came to nothing, so no reference is made: {lost[0]}")
    new = {}
    for name, run in runs.items():
        values = tuple(float(found[name, seed]) for seed in range(seeds))
        losses = suite.losses(run, dataset)
        identity = suite.identity(run, dataset)
        new[name] = Reference(values, identity, suite.origin(), losses)
        work.screen.print(f"{name}: {side_by_side(old.get(name), new[name])}")
    save(work.path, new, REMEDY)
    work.screen.print(f"{work.path}: {len(new)} references of {seeds} seeds; the old ones below")
    return 0


def exact(work: Work) -> int:
    """Compares the loss of every step of seed 0, bit for bit; 1 where any differs."""
    references = load(work.path, REMEDY)
    dataset = load_or_embedded(root=work.data)
    belongs(references, dataset)
    rows, moved = [], False
    for name, run in suite.runs(dataset.name).items():
        reference = references[name]
        if not suite.same_machine(reference):
            raise UserError(
                "the reference was made on another class of machine or other versions, where bits "
                "differ: check without --exact, or rebase here"
            )
        at = suite.first_difference(suite.losses(replace(run, seed=0), dataset), reference.losses)
        moved = moved or at is not None
        said = "the same bits" if at is None else f"first differs at step {at}"
        rows.append({"run": name, f"losses of {run.protocol.steps} steps": said})
    show(work.screen, "Exact check", pd.DataFrame(rows))
    return 1 if moved else 0
