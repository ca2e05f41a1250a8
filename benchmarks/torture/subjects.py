"""The commands that campaigns disturb, and what each must leave behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.torture import tiny
from subspace_bench.dimension.trainings import TrainingRow
from subspace_bench.profiling.table import open_csv
from subspace_bench.records.store import Store, read_record
from subspace_bench.records.table import KeyedTable
from subspace_bench.regression import reference

TASK_FILE, PROJECTOR = "linear.py", "gaussian"  # of `dimension`
DISTORTION = ("status", "norm_mean", "norm_sd", "coherence")  # of a timing: what is no time


@dataclass(frozen=True)
class Subject:
    """A command that continues where it stopped.

    Attributes:
        arguments: of the command that writes into a folder.
        result: what it has computed in a folder; the same after any disturbance. Reading it raises
            UserError if a file is damaged.
        codes: exit codes of a command that ends by itself.
    """

    name: str
    arguments: Callable[[Path], Sequence[str]]
    result: Callable[[Path], Any]
    codes: tuple[int, ...] = (0,)


def records(out: Path) -> dict[str, Any]:
    """Results by the name of their record."""
    return {path.stem: read_record(path).result for path in (out / "runs").glob("*.json")}


def pages(out: Path) -> dict[str, bytes]:
    """The content of pages and of their csv files."""
    return {p.name: p.read_bytes() for p in out.glob("*.*") if p.suffix in (".md", ".csv")}


def reproduced(out: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    return records(out), pages(out)


def compare(out: Path) -> list[str]:
    """Two cases of each projector that is added."""
    sizes = ["--native", "300,1000", "--dims", "10", "--repeat", "1"]
    return ["compare", *sizes, "--out", str(out)]


def compared(out: Path) -> dict[Any, Any]:
    rows = open_csv(out / "projectors-cpu.csv").rows
    return {key: [str(row.get(name)) for name in DISTORTION] for key, row in rows.items()}


def referenced(out: Path) -> dict[str, Any]:
    """References so far, and the records of those to come."""
    path = out / "regression.toml"
    values = {}
    if path.exists():
        values = {
            name: (entry.values, entry.losses) for name, entry in reference.load(path, "").items()
        }
    records = [record for folder in out.glob("*.update") for record in Store(folder).records()]
    return values | {record.run.name: record.result for record in records}


def checked(out: Path) -> str:
    path = out / "check.md"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def measured(out: Path) -> dict[Any, Any]:
    """Scores of finished trainings by model, d and seed."""
    path = out / "trainings" / "linear.csv"
    table = KeyedTable(path, TrainingRow, ("model", "d", "seed"))
    return {key: row["score"] for key, row in table.rows.items()}


def recomputed(out: Path) -> tuple[list[Any], list[Any]]:
    """Of a search whose d's depend on which job ends first: its baseline, and the scores that this
    process does not reproduce bit for bit.
    """
    from subspace_bench.dimension.plan import Plan
    from subspace_bench.dimension.task import load
    from subspace_bench.dimension.trial import Trial, carry_out

    task, plan = load(str(out.parent / TASK_FILE)), Plan(projector=PROJECTOR)
    found = measured(out)
    wrong = [
        (model, dim, seed)
        for (model, dim, seed), score in found.items()
        if carry_out(task, Trial(None if model == "plain" else dim, seed, None), plan).score
        != score
    ]
    return sorted(key for key in found if key[0] == "plain" and key[2] < 3), wrong


def write_task(work: Path) -> Path:
    path = work / TASK_FILE
    path.write_text(tiny.TASK, encoding="utf-8")
    return path


def make_reference(path: Path) -> None:
    """A reference of the tiny runs, in this process."""
    from dataclasses import replace

    from subspace_bench.datasets.embedded import embedded_digits
    from subspace_bench.regression import suite
    from subspace_bench.training.loop import train

    dataset = embedded_digits()
    references = {}
    for name, run in suite.runs(dataset.name).items():
        trained = [train(replace(run, seed=seed), dataset) for seed in range(tiny.SEEDS)]
        references[name] = reference.Reference(
            tuple(float(record.result["accuracy_end"]) for record in trained),
            suite.identity(run, dataset), suite.origin(), suite.losses(run, dataset),
        )  # fmt: skip
    reference.save(path, references)


def subjects(work: Path) -> dict[str, Subject]:
    """The commands by name. `check` needs `make_reference(work / "reference.toml")`."""
    task, search = str(write_task(work)), ["--trainings", "12", "--projector", PROJECTOR]

    def check(out: Path) -> list[str]:
        chosen = ["--reference", str(work / "reference.toml"), "--report", str(out / "check.md")]
        return ["check", *chosen, "--jobs", "2"]

    def update(out: Path) -> list[str]:
        chosen = ["--update-reference", "--reference", str(out / "regression.toml")]
        return ["check", *chosen, "--seeds", str(tiny.SEEDS), "--jobs", "2"]

    return {
        "reproduce": Subject(
            "reproduce",
            lambda out: ["reproduce", "--jobs", "2", "--device", "cpu", "--out", str(out)],
            reproduced,
        ),
        "compare": Subject(
            "compare",
            lambda out: [*compare(out), "--projectors", "gaussian,sparse"],
            compared,
        ),
        "check": Subject("check", check, checked, (0, 1)),
        "check --update-reference": Subject("check --update-reference", update, referenced),
        "dimension": Subject(
            "dimension",
            lambda out: ["dimension", task, *search, "--out", str(out)],
            measured,
        ),
        "dimension --jobs 2": Subject(
            "dimension --jobs 2",
            lambda out: ["dimension", task, *search, "--jobs", "2", "--out", str(out)],
            recomputed,
        ),
    }  # fmt: skip
