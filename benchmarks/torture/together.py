"""Several processes in one folder: each run is trained once, and nobody loses anything."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.torture import processes, subjects, tiny
from benchmarks.torture.campaigns import Row, Setting
from benchmarks.torture.killed import files
from benchmarks.torture.processes import Command
from subspace_bench.records.config import RunConfig
from subspace_bench.training import loop

PROCESSES = 8
MEASURERS = ("gaussian", "sparse", "srht", "kronecker")


def rows(setting: Setting) -> Iterator[Row]:
    work, draw = setting.work, random.Random(setting.seed)
    tiny.shrink(work)
    log_trainings(work / "trained")
    processes.start_server()
    (work / "temporary").mkdir()
    os.environ["TMPDIR"] = str(work / "temporary")
    reproduce = subjects.subjects(work)["reproduce"]
    alone = work / "alone"
    processes.run(reproduce.arguments(alone), work / "log")
    expected, names = reproduce.result(alone), files(alone)

    for killed in (0, 3):
        suffix = f", of which {killed} are killed with -9" if killed else ""
        row = Row(f"{PROCESSES} `reproduce` in one folder{suffix}")
        for i in range(setting.times(8, 1)):
            out = work / f"out-{killed}-{i}"
            (work / "trained").write_text("")
            row.count(*train_together(reproduce, out, work, draw, killed))
            trained = Counter((work / "trained").read_text().split())
            if again := [name for name, n in trained.items() if n > 1 and not killed]:
                row.report(f"trained more than once: {again}")
            if reproduce.result(out) != expected:
                row.report("another result than of one process")
            if strays := files(out) ^ names:
                row.report(f"other files than of one process: {sorted(strays)[:5]}")
        yield row

    row = Row(f"{len(MEASURERS)} `compare` in one folder, with different projectors")
    for i in range(setting.times(5, 1)):
        out = work / f"compared-{i}"
        commands = [
            Command([*subjects.compare(out), "--projectors", name], work / f"log-{name}")
            for name in MEASURERS
        ]
        wrong = [line for command in commands for line in command.finish()]
        found = {key[0] for key in subjects.compared(out)}
        if found != set(MEASURERS) or len(subjects.compared(out)) != 2 * len(MEASURERS):
            wrong.append(f"rows of {sorted(found)} only")
        row.count(*wrong)
    yield row

    row = Row("`report` and `list` while three `reproduce` write")
    out = work / "read"
    writers = [Command(reproduce.arguments(out), work / f"log-{i}") for i in range(3)]
    while any(writer.poll() is None for writer in writers) or row.times < 4:
        for command in ("report", "list"):
            reader = processes.run([command, "--out", str(out)], work / "log-reader")
            row.count(*([reader.describe()] if reader.code else []))
    row.report(*(line for writer in writers for line in writer.finish()))
    if subjects.records(out) != expected[0]:  # `report` has written its own pages
        row.report("another result than of one process")
    yield row


def train_together(
    subject: subjects.Subject, out: Path, work: Path, draw: random.Random, killed: int
) -> list[str]:
    """Starts commands at random moments and kills some; what was wrong with them."""
    commands = []
    for i in range(PROCESSES):
        commands.append(Command(subject.arguments(out), work / f"log-{i}"))
        time.sleep(draw.uniform(0, 0.1))
    for command in draw.sample(commands, killed):
        time.sleep(draw.uniform(0, 0.5))
        command.signal(signal.SIGKILL)
    wrong = []
    for command in commands:
        wrong += command.finish()
        if command.code not in (0, -signal.SIGKILL):
            wrong.append(command.describe())
    return wrong


def log_trainings(path: Path) -> None:
    """Makes every training, in this process and its forks, append the name of its run to a file."""
    train = loop.train

    def logged(run: RunConfig, *arguments: object, **options: object) -> object:
        with path.open("a") as file:
            file.write(f"{run.name}\n")
        return train(run, *arguments, **options)  # type: ignore[arg-type]

    loop.train = logged  # type: ignore[assignment]
