"""`subspace-bench watch`: what runs, waits and is done in a folder, from another terminal.

It reads records, checkpoints and locks, and talks to no process. Which plan is trained follows
from the names of files: they contain the hash of a run.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from subspace_bench.cli.options import expand
from subspace_bench.common import validation
from subspace_bench.common.errors import UserError
from subspace_bench.common.formatting import format_duration, make_console
from subspace_bench.common.locks import is_locked

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from subspace_bench.records.config import RunConfig

SECONDS = 2.0  # between two looks
SHOWN = 10  # finished runs, the latest ones, and waiting ones
BLOCKS, WIDTH = "▁▂▃▄▅▆▇█", 16  # of a sparkline
NAME = re.compile(r"(?P<model>.+)-d(?P<dim>D|\d+)-s(?P<seed>\d+)-[0-9a-f]{12}")
RUNNING, INTERRUPTED, DONE, DAMAGED = "runs", "interrupted", "done", "damaged"


def watch(
    out: Annotated[
        Path, typer.Argument(help="The folder of `reproduce --out`.", parser=expand, metavar="OUT")
    ] = Path("results"),
    once: Annotated[bool, typer.Option("--once", help="Print the state and exit.")] = False,
) -> int:
    """Show what runs, waits and is done, with sparklines of accuracy; Ctrl-C ends it.

    A run's curve is that of its record or checkpoint, which is written every minute.
    """
    if not out.is_dir():
        raise UserError(f"there is no folder {out}: name that of `reproduce --out`")
    from rich.live import Live

    console, watched = make_console(), Folder(out / "runs")
    if once or not console.is_interactive:
        console.print(watched.show())
        return 0
    with contextlib.suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(watched.show(), refresh=True)
            time.sleep(SECONDS)
    return 0


@dataclass(frozen=True)
class RunState:
    """How far one run has come.

    Attributes:
        name: the stem of its files.
        state: RUNNING, INTERRUPTED, DONE or DAMAGED.
        curve: rows of [updates, test accuracy in %, loss].
        updates: so far, as far as files tell.
        seconds: of training, likewise.
        changed: when its file last changed, in seconds since the epoch.
    """

    name: str
    state: str
    curve: Sequence[Sequence[float]] = ()
    updates: int = 0
    seconds: float = 0.0
    changed: float = 0.0


class Folder:
    """The runs of a folder; files that have not changed are not read again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[Path, tuple[int, RunState]] = {}
        self._names: set[str] = set()  # of runs, at the last change of the plan
        self._plan: dict[str, RunConfig] = {}
        self._labels: dict[str, str] = {}  # of the plan's runs, by name

    def states(self) -> list[RunState]:
        """Every run that has a file or a lock."""
        found: dict[str, RunState] = {}
        for path in sorted(self.folder.glob("*")) if self.folder.is_dir() else []:
            if path.suffix in (".json", ".checkpoint") and NAME.fullmatch(path.stem):
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    found[path.stem] = self._state(path)  # a record's replaces a checkpoint's
        for lock in self.folder.glob(".*.json.lock"):
            name = lock.name.removeprefix(".").removesuffix(".json.lock")
            state = found.get(name, RunState(name, RUNNING))
            unfinished = NAME.fullmatch(name) and state.state not in (DONE, DAMAGED)
            if unfinished and is_locked(self.folder / f"{name}.json"):
                found[name] = replace(state, state=RUNNING)
        return list(found.values())

    def _state(self, path: Path) -> RunState:
        changed = path.stat().st_mtime_ns
        if path not in self._read or self._read[path][0] != changed:
            self._read[path] = changed, read(path)
        return self._read[path][1]

    def show(self) -> Group:
        """The states as text and a table."""
        from rich.console import Group

        from subspace_bench.cli.progress import distinct_labels

        states = self.states()
        names = {state.name for state in states}
        if not names <= self._names:
            self._names, self._plan = names, likely_plan(names)
            labels = distinct_labels(self._plan.values())
            self._labels = {name: labels[run] for name, run in self._plan.items()}
        by = {kind: [s for s in states if s.state == kind] for kind in (RUNNING, INTERRUPTED, DONE)}
        damaged = [s.name for s in states if s.state == DAMAGED]
        waiting = [label for name, label in self._labels.items() if name not in names]
        counts = f"{len(by[RUNNING])} run, {len(waiting) + len(by[INTERRUPTED])} wait, "
        parts: list[str | Table] = [f"{self.folder}: {counts}{len(by[DONE])} done"]
        latest = sorted(by[DONE], key=lambda state: state.changed)[-SHOWN:]
        rows = [*by[RUNNING], *by[INTERRUPTED], *latest]
        if rows:
            parts.append(self._table(rows))
        if len(by[DONE]) > len(latest):
            parts.append(f"{len(by[DONE]) - len(latest)} more are done")
        if waiting:
            parts.append("\n".join(["waiting:", *waiting[:SHOWN], "…"][: len(waiting) + 1]))
        parts += [f"damaged: {self.folder / name}.json" for name in damaged]
        return Group(*parts)

    def _table(self, states: Sequence[RunState]) -> Table:
        from rich.table import Table

        shown = Table(box=None, pad_edge=False)
        for column in ("run", "", "updates", "accuracy", "", "time"):
            shown.add_column(column, no_wrap=column != "run")
        for state in states:
            run = self._plan.get(state.name)
            updates = f"{state.updates:,}" if state.updates else ""
            if run is not None and state.state != DONE:
                updates = f"{state.updates:,} of {run.protocol.steps:,}"
            accuracies = [row[1] for row in state.curve]
            shown.add_row(
                self._labels.get(state.name) or describe(state.name),
                state.state,
                updates,
                f"{accuracies[-1]:.2f}%" if accuracies else "",
                sparkline(accuracies),
                format_duration(state.seconds) if state.seconds else "",
            )
        return shown


def read(path: Path) -> RunState:
    """The state that a record or a checkpoint tells."""
    from subspace_bench.records.store import read_record
    from subspace_bench.training.checkpoint import DamagedCheckpoint, read_state

    name, changed = path.stem, path.stat().st_mtime
    try:
        if path.suffix == ".checkpoint":
            state = read_state(path)
            return RunState(name, INTERRUPTED, state.curve, state.updates, state.seconds, changed)
        record = read_record(path)
    except DamagedCheckpoint:
        return RunState(name, INTERRUPTED, changed=changed)
    except UserError:
        return RunState(name, DAMAGED, changed=changed)
    updates = record.result.get("diverged", record.run.protocol.steps)
    seconds = record.provenance["seconds_training"]
    return RunState(name, DONE, record.result["curve"], updates, seconds, changed)


def likely_plan(names: set[str]) -> dict[str, RunConfig]:
    """Name → run of the plan that most of these files belong to; empty if none does."""
    from subspace_bench.experiments import STUDIES, Plan

    seeds = 1 + max((int(m["seed"]) for n in names if (m := NAME.fullmatch(n))), default=0)
    best: dict[str, RunConfig] = {}
    options = itertools.product(("post", "quick", "full"), ("mnist", "mnist-5k"))
    for profile, dataset in options:
        plan = Plan(profile, seeds, dataset, validation.resolve_device("auto"))
        cases = {run.name: run for study in STUDIES.values() for run in study.cases(plan)}
        if len(cases.keys() & names) > len(best.keys() & names):
            best = cases
        if names <= best.keys():
            break
    return best


def describe(name: str) -> str:
    """Model, dimension and seed of a run's name."""
    match = NAME.fullmatch(name)
    assert match is not None
    dim = match["dim"] if match["dim"] == "D" else f"{int(match['dim']):,}"
    return f"{match['model']} d={dim} seed {match['seed']}"


def sparkline(values: Sequence[float]) -> str:
    """Numbers in % as a line of blocks, the lowest block for 0 and the highest for 100."""
    count = min(len(values), WIDTH)
    shown = [values[round(i * (len(values) - 1) / max(1, count - 1))] for i in range(count)]
    return "".join(BLOCKS[min(7, max(0, int(value * 8 / 100)))] for value in shown)
