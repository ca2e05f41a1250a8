"""The flows of `subspace-bench check`: judge, rebase, exact."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from rich.console import Console

from subspace_bench.common.errors import UserError
from subspace_bench.common.files import digest, write_atomically
from subspace_bench.common.formatting import print_table
from subspace_bench.common.validation import check_writable
from subspace_bench.datasets.catalog import EMBEDDED
from subspace_bench.datasets.dataset import Dataset
from subspace_bench.datasets.loading import load_or_embedded
from subspace_bench.records.config import RunConfig
from subspace_bench.regression import FIRST_SEED, suite
from subspace_bench.regression import check as checking
from subspace_bench.regression.reference import Reference, load, replaced, save, side_by_side
from subspace_bench.regression.sequential import MOVED, Design
from subspace_bench.reporting.render import markdown_table
from subspace_bench.training.executor import Event, describe

REMEDY = "make one with `subspace-bench check --update-reference`"


FEWEST = 40  # seeds of a reference of our own: with fewer, the shifts that are found are too large


@dataclass(frozen=True)
class Work:
    """Where the reference and the data are, and how runs are carried out."""

    path: Path
    data: Path | None
    jobs: int
    screen: Console

    def measurer(self, dataset: Dataset, folder: Path | None = None) -> suite.Measure:
        return suite.measurer(dataset.name, self.data, self.jobs, self.tell, folder)

    def tell(self, message: Event[RunConfig]) -> None:
        if message.kind in ("done", "failed"):
            if message.kind == "failed":
                said = message.reason
            else:
                accuracy = message.value.result["accuracy"]
                said = "diverged" if accuracy is None else f"{accuracy:.2f}%"
            names = {run: name for name, run in suite.runs(message.case.dataset).items()}
            name = names[replace(message.case, seed=0)]
            self.screen.print(f"{name}, seed {message.case.seed}: {said}")


def check(
    work: Work, alpha: float, report: Path | None, first: int = FIRST_SEED
) -> list[checking.Outcome]:
    """Judges every reference by seeds from `first` on; prints and writes the outcomes."""
    references = load(work.path, REMEDY, FEWEST)
    dataset = load_or_embedded(root=work.data)
    belongs(references, dataset)
    outcomes = checking.check(references, work.measurer(dataset), alpha, first)
    print_table(work.screen, "Accuracy check", checking.frame(outcomes))
    work.screen.print(checking.method(outcomes, alpha))
    if any(outcome.verdict == MOVED for outcome in outcomes):
        again = first + 1_000_000
        work.screen.print(
            "The same code gives the same numbers again. Whether it was chance, others say: "
            f"--first-seed {again}"
        )
    publish(report, checking.markdown(outcomes, alpha), checking.junit(outcomes))
    return outcomes


def publish(report: Path | None, markdown: str, junit: str) -> None:
    """Writes the outcome where `--report` says: by its ending, or both without one."""
    if report is None:
        return
    texts = {".md": markdown, ".xml": junit}
    if report.suffix in texts:
        write_atomically(report, texts[report.suffix])
        return
    for ending, text in texts.items():
        write_atomically(Path(f"{report}{ending}"), text)


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
        for key, value in suite.identity(run, dataset).items():
            if references[name].identity.get(key) != value:
                what = {
                    "data": f"other data than {dataset.name} here{fetch(dataset)}",
                    "numerics": f"another numerics version: {REMEDY}",
                    "run": f"another protocol: {REMEDY}",
                }[key]
                raise UserError(f"the reference of {name!r} is of {what}")


def fetch(dataset: Dataset) -> str:
    """What to do about other data: where the embedded digits stand in for MNIST, get MNIST."""
    if dataset.name == EMBEDDED:
        return ": fetch MNIST with `subspace-bench data`, or " + REMEDY
    return f": {REMEDY}"


def rebase(work: Work, seeds: int) -> None:
    """Trains every reference anew, shows old and new side by side, and keeps both.

    What is trained stays in a folder beside the reference until all is, so that the same command
    goes on where it was interrupted, as long as code, versions and machine are the same.
    """
    check_writable(work.path.parent)
    old = replaced(work.path)
    dataset = load_or_embedded(root=work.data)
    runs = suite.runs(dataset.name)
    origin = suite.origin()
    folder = None
    if not origin["dirty"] and origin["revision"] != suite.UNKNOWN:
        folder = work.path.with_suffix(f".{digest(origin)[:8]}.rebase")
    tasks = [(name, seed) for name in runs for seed in range(seeds)]
    found = work.measurer(dataset, folder)(tasks)
    lost = [reason for reason in found.values() if isinstance(reason, str)]
    if lost:
        raise UserError(f"{len(lost)} runs came to nothing, so no reference is made: {lost[0]}")
    new = {}
    for name, run in runs.items():
        values = tuple(float(found[name, seed]) for seed in range(seeds))
        losses = suite.losses(run, dataset)
        new[name] = Reference(values, suite.identity(run, dataset), origin, losses)
        smallest = (
            Design(family=len(runs), reference=seeds).minimum_detectable_effect()
            * new[name].sample.sd
        )
        said = side_by_side(old.get(name), new[name])
        work.screen.print(f"{name}: {said}; a shift of {smallest:.2g} is found with 95% power")
    if aside := save(work.path, new):
        work.screen.print(aside)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    work.screen.print(f"{work.path}: {len(new)} references of {seeds} seeds; the old ones below")


def exact(work: Work, report: Path | None) -> int:
    """Compares the loss of every step of seed 0, bit for bit; 1 where any differs, 2 on failure."""
    references = load(work.path, REMEDY)
    dataset = load_or_embedded(root=work.data)
    belongs(references, dataset)
    rows, cases, code = [], [], 0
    for name, run in suite.runs(dataset.name).items():
        reference = references[name]
        if not suite.same_hardware(reference):
            raise UserError(
                "the reference was made on another class of machine or other versions, where bits "
                "differ: check without --bitwise, or rebase here"
            )
        try:
            at = suite.first_difference(suite.losses(run, dataset), reference.losses)
        except Exception as failure:
            said, now = f"not compared: {describe(failure)}", 2
        else:
            said = "the same bits" if at is None else f"first differs at step {at}"
            now = 0 if at is None else 1
        code = max(code, now)
        cases.append((name, ("", "failure", "error")[now], said))
        rows.append({"run": name, f"losses of {run.protocol.steps} steps": said})
    frame = pd.DataFrame(rows)
    print_table(work.screen, "Exact check", frame)
    publish(report, f"# Exact check\n\n{markdown_table(frame)}\n", checking.junit_of(cases))
    return code
