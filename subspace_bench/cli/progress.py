"""Progress of runs: bars in a terminal, plain lines in a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from subspace_bench.common.formatting import format_duration
from subspace_bench.records.config import RunConfig
from subspace_bench.training.executor import Event

if TYPE_CHECKING:
    from subspace_bench.training.cost import Cost

LINE_SECONDS = 15.0  # between the plain lines of one run
CLAIMED = "another process trains it"


class ProgressDisplay:
    """A context manager that shows the events of runs and the time left.

    Arguments:
        costs: the expected cost of every run.
        labels: the name of every run.
        jobs: how many are trained at a time.
        clock: returns seconds.
    """

    def __init__(
        self,
        console: Console,
        costs: Mapping[RunConfig, Cost],
        labels: Mapping[RunConfig, str],
        jobs: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console, self.labels, self.jobs, self.clock = console, labels, jobs, clock
        self.total = len(costs)
        self.seconds_left = {run: cost.seconds for run, cost in costs.items()}  # until they end
        self.last_line: dict[RunConfig, float] = {}
        self.bars = make_bars(console) if console.is_interactive else None
        self.tasks: dict[RunConfig, TaskID] = {}

    def __enter__(self) -> ProgressDisplay:
        if self.bars is not None:
            self.all_runs = self.bars.add_task("all runs", total=self.total, note="")
            self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bars is not None:
            self.bars.stop()

    def on_event(self, event: Event[RunConfig]) -> None:
        """Shows one event."""
        run = event.case
        if event.kind == "progress":
            updates, steps = event.value.updates, run.protocol.steps
            self.seconds_left[run] = event.value.seconds * (steps - updates) / updates
        elif event.kind in ("done", "failed"):
            self.seconds_left.pop(run, None)
        if self.bars is None:
            self.print_line(event)
        else:
            self.update_bars(self.bars, event)

    def print_line(self, event: Event[RunConfig]) -> None:
        """Prints a line when a run starts or ends, and every few seconds in between."""
        run, now, label = event.case, self.clock(), self.labels[event.case]
        if event.kind == "started":
            about = format_duration(self.seconds_left[run])
            self.console.print(f"{label}: starts, {run.protocol.steps:,} updates, about {about}")
            self.last_line[run] = now
        elif event.kind == "progress":
            if now - self.last_line.setdefault(run, now) >= LINE_SECONDS:
                self.last_line[run] = now
                updates = f"update {event.value.updates:,} of {run.protocol.steps:,}"
                self.console.print(f"{label}: {updates}, {self.status(event)}")
        elif event.kind == "claimed":
            self.console.print(f"{label}: {CLAIMED}")
        else:
            left = f"; about {format_duration(self.time_left())} left" if self.seconds_left else ""
            self.console.print(f"{label}: {outcome(event)}{left}")

    def update_bars(self, bars: Progress, event: Event[RunConfig]) -> None:
        """Updates the run's bar; replaces it by a line when the run ends."""
        run = event.case
        if run not in self.tasks:
            self.tasks[run] = bars.add_task(
                self.labels[run], total=run.protocol.steps, note="setting up"
            )
        if event.kind == "progress":
            bars.update(self.tasks[run], completed=event.value.updates, note=self.status(event))
        elif event.kind == "claimed":
            bars.update(self.tasks[run], note=CLAIMED)
        elif event.kind != "started":
            bars.remove_task(self.tasks.pop(run))
            bars.console.print(f"{self.labels[run]}: {outcome(event)}")
        left = f"about {format_duration(self.time_left())} left" if self.seconds_left else ""
        bars.update(self.all_runs, completed=self.total - len(self.seconds_left), note=left)

    def status(self, event: Event[RunConfig]) -> str:
        """Current accuracy and time left of one run."""
        accuracy = event.value.accuracy
        scored = "" if accuracy is None else f"{accuracy:.2f}%, "
        return f"{scored}{format_duration(self.seconds_left[event.case])} left"

    def time_left(self) -> float:
        """Seconds until all runs have ended."""
        return sum(self.seconds_left.values()) / max(1, min(self.jobs, len(self.seconds_left)))


def outcome(event: Event[RunConfig]) -> str:
    """How a run ended."""
    if event.kind == "failed":
        return f"failed: {event.reason}"
    accuracy = event.value.result["accuracy"]
    return "diverged" if accuracy is None else f"{accuracy:.2f}%"


def make_bars(console: Console) -> Progress:
    """Bars with a name, a count and a note."""
    columns: Sequence[TextColumn | BarColumn | MofNCompleteColumn] = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    return Progress(*columns, console=console)


def distinct_labels(runs: Iterable[RunConfig]) -> dict[RunConfig, str]:
    """Run → its label, plus enough fields to distinguish runs with the same label.

    Fields are added in order: number of updates, initialisation, any other that differs.
    """
    groups: dict[str, list[RunConfig]] = {}
    for run in runs:
        groups.setdefault(run.label, []).append(run)
    labels: dict[RunConfig, str] = {}
    for label, group in groups.items():
        fields = {run: {**vars(run.protocol), **vars(run)} for run in group}
        for values in fields.values():
            del values["protocol"]
            values.pop("hash", None)  # cached there
        shown: list[str] = []
        for name in ("steps", "init", *fields[group[0]]):
            if len({tuple(values[n] for n in shown) for values in fields.values()}) == len(group):
                break
            if name not in shown and len({values[name] for values in fields.values()}) > 1:
                shown.append(name)
        for run in group:
            details = [describe_field(name, fields[run][name]) for name in shown]
            labels[run] = ", ".join([label, *details])
    return labels


def describe_field(name: str, value: Any) -> str:
    """A field of a run, such as "init he"."""
    return f"{value:,} updates" if name == "steps" else f"{name} {value}"
