"""Labels of runs, and the progress that `reproduce` and `train` show of them."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console

from subspace_bench import UserError
from subspace_bench.cli.progress import ProgressDisplay, distinct_labels
from subspace_bench.records.config import RunConfig, TrainingConfig
from subspace_bench.records.store import Record
from subspace_bench.training.cost import Cost
from subspace_bench.training.executor import Event
from subspace_bench.training.loop import Progress

RUN = RunConfig("mlp-16", "default", TrainingConfig(steps=4, batch=64, lr=3e-3, score_every=2))


def test_runs_of_one_label_are_told_apart() -> None:
    longer, other = RUN.with_steps(6_000), replace(RUN, init="he")
    third = replace(RUN, dataset="mnist-5k")
    alone = replace(RUN, seed=1)
    assert list(distinct_labels([RUN, longer, alone]).values()) == [
        "mlp-16 d=D seed 0, 4 updates",
        "mlp-16 d=D seed 0, 6,000 updates",
        "mlp-16 d=D seed 1",
    ]
    assert distinct_labels([RUN, longer, other])[other] == "mlp-16 d=D seed 0, 4 updates, init he"
    both = replace(longer, init="he", threads=2)
    threads = distinct_labels([RUN, longer, other, replace(longer, init="he"), both])[both]
    assert threads == "mlp-16 d=D seed 0, 6,000 updates, init he, threads 2"
    assert distinct_labels([RUN, third])[third] == "mlp-16 d=D seed 0, dataset mnist-5k"


def test_a_file_gets_a_line_every_quarter_minute(capsys) -> None:
    ticks = iter(range(0, 1_000, 5))
    costs, labels = {RUN: Cost(0, 8, 1e6, 1e3)}, distinct_labels([RUN])
    with ProgressDisplay(Console(width=100), costs, labels, 1, lambda: next(ticks)) as display:
        display.on_event(Event("started", RUN))
        for i in range(7):
            display.on_event(Event("progress", RUN, Progress(1, 12.5, float(i))))
        display.on_event(Event("done", RUN, Record(RUN, {"accuracy": 50.0}, {})))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert "4 updates, about 8 s" in lines[0]
    assert "update 1 of 4, 12.50%, 6 s left" in lines[1]
    assert lines[-1] == "mlp-16 d=D seed 0: 50.00%"


def test_a_run_of_another_process_is_named_once_and_still_expected(capsys) -> None:
    costs, labels = {RUN: Cost(0, 8, 1e6, 1e3)}, distinct_labels([RUN])
    with ProgressDisplay(Console(width=100), costs, labels, 1) as display:
        display.on_event(Event("started", RUN))
        display.on_event(Event("claimed", RUN))
        assert display.time_left() == 8
    assert "another process" in capsys.readouterr().out.splitlines()[1]


def test_a_terminal_has_a_bar_for_each_run() -> None:
    console = Console(force_terminal=True, width=100, record=True)
    with ProgressDisplay(
        console, {RUN: Cost(0, 8, 1e6, 1e3)}, distinct_labels([RUN]), 1
    ) as display:
        display.on_event(Event("started", RUN))
        display.on_event(Event("claimed", RUN))
        assert display.bars is not None
        assert "another process" in display.bars.tasks[1].fields["note"]
        display.on_event(Event("progress", RUN, Progress(2, 12.5, 1.0)))
        assert [task.description for task in display.bars.tasks] == ["all runs", RUN.label]
        display.on_event(Event("failed", RUN, UserError("no reason")))
        assert len(display.bars.tasks) == 1
    assert "no reason" in console.export_text()
