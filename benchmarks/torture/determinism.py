"""The same run has the same bits, whatever else differs."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.torture import processes, subjects, tiny
from benchmarks.torture.campaigns import Row, Setting
from subspace_bench.datasets.embedded import embedded_digits
from subspace_bench.records.config import RunConfig
from subspace_bench.training.loop import Interrupted, train

VARIABLES = {
    "PYTHONHASHSEED": ("0", "1", "random"),
    "FORCE_COLOR": ("1",),
    "TERM": ("dumb",),
    "LC_ALL": ("C", "tr_TR.UTF-8"),
    "TZ": ("Asia/Kathmandu",),
    "PYTHONOPTIMIZE": ("2",),
}


def rows(setting: Setting) -> Iterator[Row]:
    work, draw = setting.work, random.Random(setting.seed)
    tiny.shrink(work)
    os.environ["TMPDIR"] = str(work)
    dataset = embedded_digits()
    kinds = [replace(run, seed=seed) for run in tiny.runs() for seed in range(2)]
    expected = {run: train(run, dataset).result for run in kinds}

    row = Row("repeats in one process, in another order each time")
    for _ in range(setting.times(20, 1)):
        for run in draw.sample(kinds, len(kinds)):
            same = train(run, dataset).result == expected[run]
            row.count(*([] if same else [f"{run.label}: other bits"]))
    yield row

    row = Row("resumed after a random update, several times")
    for run in kinds:
        for _ in range(setting.times(10, 1)):
            same = resumed(run, draw, work / "run.checkpoint") == expected[run]
            row.count(*([] if same else [f"{run.label}: other bits"]))
    yield row

    processes.start_server()
    row = Row("`reproduce --jobs` 1, 2 and 4, with and without a terminal")
    for jobs in ("1", "2", "4"):
        for terminal in (False, True):
            out = work / f"out-{jobs}-{terminal}"
            arguments = ["reproduce", "--jobs", jobs, "--device", "cpu", "--out", str(out)]
            set_up: Callable[[], object] = (lambda: None) if not terminal else open_terminal
            command = processes.run(arguments, work / "log", set_up=set_up)
            found = subjects.records(out)
            wrong = [] if command.code == 0 else [command.describe()]
            wrong += [
                f"{run.label}: other bits"
                for run in kinds
                if run.seed == 0 and found.get(run.name) != expected[run]
            ]
            row.count(*wrong)
    yield row

    row = Row(f"`python -m subspace_bench train` under other {', '.join(VARIABLES)}")
    net = ("--model", "mlp-16", "--dataset", "mnist-5k", "--device", "cpu", "--steps", "9")
    arguments = ["train", *net]
    results: list[Any] = []
    for name, values in VARIABLES.items() if not setting.short else ():
        for value in values:
            out = work / f"{name}-{value}"
            command = processes.run(
                [*arguments, "--out", str(out)], work / "log", real=True, variables={name: value}
            )
            results.append(list(subjects.records(out).values()))
            same = command.code == 0 and results[-1] == results[0]
            row.count(*([] if same else [f"{name}={value}: {command.describe()}"]))
    if row.times:
        yield row


def resumed(run: RunConfig, draw: random.Random, checkpoint: Path) -> object:
    """The result of a run that is interrupted up to three times."""
    dataset = embedded_digits()
    for _ in range(3):
        stop, asked = draw.randint(1, run.protocol.steps // 2), count(1)
        try:
            train(run, dataset, checkpoint, should_stop=lambda n=stop, c=asked: next(c) == n)  # type: ignore[misc]
        except Interrupted:
            continue
        break
    result = train(run, dataset, checkpoint).result
    checkpoint.unlink(missing_ok=True)
    return result


def open_terminal() -> None:
    """Connects a forked command to a terminal that nobody reads."""
    import pty
    import sys
    import threading

    reader, terminal = pty.openpty()
    threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(reader, 1 << 16), b"")],
                     daemon=True).start()  # fmt: skip
    for descriptor in (0, 1, 2):
        os.dup2(terminal, descriptor)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
