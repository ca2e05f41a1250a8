"""What a terminal shows while runs are trained: bars, or plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from subspace_bench.common.formatting import format_duration
from subspace_bench.records.config import RunConfig
from subspace_bench.training.cost import Cost
from subspace_bench.training.executor import Event

EVERY = 15.0  # seconds between the plain lines of one run


class Display:
    """Shows what workers tell, and how long the rest will take; a context manager.

    Arguments:
        costs: what every run is expected to take.
        labels: what every run is called.
        jobs: how many are trained at a time.
        now: a clock, in seconds.
    """

    def __init__(
        self,
        screen: Console,
        costs: Mapping[RunConfig, Cost],
        labels: Mapping[RunConfig, str],
        jobs: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.screen, self.costs, self.labels = screen, costs, labels
        self.jobs, self.now = jobs, now
        self.open = set(costs)  # not ended yet
        self.left = {run: cost.seconds for run, cost in costs.items()}  # seconds, for each
        self.spoke: dict[RunConfig, float] = {}
        self.bars = bars(screen) if screen.is_terminal else None
        self.tasks: dict[RunConfig, TaskID] = {}

    def __enter__(self) -> Display:
        if self.bars is not None:
            self.whole = self.bars.add_task("all runs", total=len(self.costs), note="")
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

    def tell(self, message: Event[RunConfig]) -> None:
        """Shows one message of a worker."""
        run = message.case
        if message.kind == "progress":
            steps, progress = run.protocol.steps, message.value
            self.left[run] = progress.seconds * (steps - progress.updates) / progress.updates
        elif message.kind in ("done", "failed"):
            self.open.discard(run)
        if self.bars is None:
            self.say(message)
        else:
            self.draw(self.bars, message)

    def say(self, message: Event[RunConfig]) -> None:
        """A plain line where a run starts or ends, and now and then between."""
        run, now, label = message.case, self.now(), self.labels[message.case]
        if message.kind == "started":
            about = format_duration(self.costs[run].seconds)
            self.screen.print(f"{label}: starts, {run.protocol.steps:,} updates, about {about}")
            self.spoke[run] = now
        elif message.kind == "progress":
            if now - self.spoke.setdefault(run, now) >= EVERY:
                self.spoke[run] = now
                done = f"update {message.value.updates:,} of {run.protocol.steps:,}"
                self.screen.print(f"{label}: {done}, {self.note(message)}")
        else:
            self.screen.print(ending(message, label, self.rest()))

    def draw(self, shown: Progress, message: Event[RunConfig]) -> None:
        """Moves the run's bar; an ended run leaves a line."""
        run, steps = message.case, message.case.protocol.steps
        if run not in self.tasks:
            self.tasks[run] = shown.add_task(self.labels[run], total=steps, note="setting up")
        if message.kind == "progress":
            note = self.note(message)
            shown.update(self.tasks[run], completed=message.value.updates, note=note)
        elif message.kind != "started":
            shown.remove_task(self.tasks.pop(run))
            shown.console.print(ending(message, self.labels[run]))
        ended = len(self.costs) - len(self.open)
        left = f"about {format_duration(self.rest())} left" if self.open else ""
        shown.update(self.whole, completed=ended, note=left)

    def note(self, message: Event[RunConfig]) -> str:
        """Accuracy now and time left of one run."""
        accuracy = message.value.accuracy
        scored = "" if accuracy is None else f"{accuracy:.2f}%, "
        return f"{scored}{format_duration(self.left[message.case])} left"

    def rest(self) -> float:
        """Seconds until all runs have ended."""
        return sum(self.left[run] for run in self.open) / max(1, min(self.jobs, len(self.open)))


def labels(runs: Iterable[RunConfig]) -> dict[RunConfig, str]:
    """What each run is called beside the others: its label, and what tells it from its namesakes.

    That is the number of updates, the initialisation, and only then whatever else.
    """
    namesakes: dict[str, list[RunConfig]] = {}
    for run in runs:
        namesakes.setdefault(run.label, []).append(run)
    named: dict[RunConfig, str] = {}
    for label, alike in namesakes.items():
        content = {run: {**vars(run.protocol), **vars(run)} for run in alike}
        shown: list[str] = []
        for name in ("steps", "init", *content[alike[0]]):
            if len({tuple(c[n] for n in shown) for c in content.values()}) == len(alike):
                break
            if len({c[name] for c in content.values()}) > 1:
                shown.append(name)
        for run in alike:
            named[run] = ", ".join([label, *(telling(name, content[run][name]) for name in shown)])
    return named


def telling(name: str, value: Any) -> str:
    """A field of a run in words."""
    return f"{value:,} updates" if name == "steps" else f"{name} {value}"


def bars(screen: Console) -> Progress:
    """One bar a run."""
    columns: Sequence[TextColumn | BarColumn | MofNCompleteColumn] = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    return Progress(*columns, console=screen)


def ending(message: Event[RunConfig], label: str, rest: float = 0.0) -> str:
    """The line that a run leaves."""
    if message.kind == "failed":
        return f"{label}: failed: {message.reason}"
    accuracy = message.value.result["accuracy"]
    scored = "diverged" if accuracy is None else f"{accuracy:.2f}%"
    return f"{label}: {scored}" + (f"; about {format_duration(rest)} left" if rest else "")
