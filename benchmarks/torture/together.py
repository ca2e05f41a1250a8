"""Several processes in one folder: each run is trained once, and nobody loses anything."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.torture import processes, subjects, tiny
from benchmarks.torture.campaigns import NOT_TRIED, Row, Setting
from benchmarks.torture.killed import files
from benchmarks.torture.processes import Command
from subspace_bench.common.locks import Locked, exclusive
from subspace_bench.dimension import measure as dimension_measure
from subspace_bench.dimension.task import Task
from subspace_bench.dimension.trial import Outcome, Trial
from subspace_bench.profiling import worker
from subspace_bench.profiling.cases import TimingCase
from subspace_bench.records.config import RunConfig
from subspace_bench.training import loop

measuring: Any = worker  # whose functions are replaced
searching: Any = dimension_measure
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
            row.report(*(repeated(work / "trained") if not killed else []))
            if reproduce.result(out) != expected:
                row.report("another result than of one process")
            if strays := files(out) ^ names:
                row.report(f"other files than of one process: {sorted(strays)[:5]}")
        yield row

    yield compare_together(setting, [(name,) for name in MEASURERS], "with different projectors")
    if not setting.short:
        yield compare_together(setting, [MEASURERS] * len(MEASURERS), "with the same projectors")
    yield search_together(setting)
    yield process_namespaces(setting)

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


def compare_together(setting: Setting, chosen: list[tuple[str, ...]], how: str) -> Row:
    """Every case is measured, and once."""
    row, log = Row(f"{len(chosen)} `compare` in one folder, {how}"), setting.work / "measured"
    measure = measuring.measure_in_pool

    def logged(case: TimingCase, *arguments: Any) -> dict[str, Any]:
        append(log, case.label)
        result: dict[str, Any] = measure(case, *arguments)
        return result

    measuring.measure_in_pool = logged
    for i in range(setting.times(5, 1)):
        out = setting.work / f"compared-{how.replace(' ', '-')}-{i}"
        log.write_text("")
        commands = [
            Command(
                [*subjects.compare(out), "--projectors", ",".join(names)], setting.work / f"log-{n}"
            )
            for n, names in enumerate(chosen)
        ]
        wrong = [line for command in commands for line in command.finish()]
        found = subjects.compared(out)
        if {key[0] for key in found} != set(MEASURERS) or len(found) != 2 * len(MEASURERS):
            wrong.append(f"rows of {sorted({key[0] for key in found})} only")
        row.count(*wrong, *repeated(log))
    measuring.measure_in_pool = measure
    return row


def search_together(setting: Setting) -> Row:
    """One `dimension` trains, the others wait for it and then find everything done."""
    row, log = Row(f"{PROCESSES} `dimension` in one folder"), setting.work / "searched"
    search = subjects.subjects(setting.work)["dimension"]
    train_trial = searching.carry_out

    def logged(task: Task, trial: Trial, *arguments: Any) -> Outcome:
        append(log, trial.label)
        outcome: Outcome = train_trial(task, trial, *arguments)
        return outcome

    searching.carry_out = logged
    alone = setting.work / "searched-alone"
    processes.run(search.arguments(alone), setting.work / "log")
    for i in range(setting.times(8, 1)):
        out = setting.work / f"searched-{i}"
        log.write_text("")
        commands = [
            Command(search.arguments(out), setting.work / f"log-{n}") for n in range(PROCESSES)
        ]
        wrong = [line for command in commands for line in command.finish()]
        wrong += [command.describe() for command in commands if command.code]
        if search.result(out) != search.result(alone) or files(out) != files(alone):
            wrong.append("another result than of one process")
        row.count(*wrong, *repeated(log))
    searching.carry_out = train_trial
    return row


def process_namespaces(setting: Setting) -> Row:
    """A lock excludes a process of another container, and outlives no holder there."""
    row = Row("a lock between PID namespaces, whose holder is then killed")
    path = setting.work / "locked"
    program = (
        "import sys, time; from pathlib import Path\n"
        "from subspace_bench.common.locks import exclusive\n"
        "with exclusive(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(600)"
    )
    command = ["unshare", "--fork", "--pid", "--kill-child", sys.executable, "-c", program]
    if not processes.allows(*command[:3], "true"):
        return Row(row.tried, measured=NOT_TRIED)
    for _ in range(setting.times(5, 1)):
        with subprocess.Popen([*command, str(path)], stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            held = holder.stdout.readline() == b"held\n"
            wrong = [] if held else ["the holder failed"]
            wrong += ["both hold it"] if can_lock(path, 0) else []
            holder.kill()
            wrong += [] if can_lock(path, 60) else ["the lock outlives its holder"]
            row.count(*wrong)
    return row


def can_lock(path: Path, seconds: float) -> bool:
    try:
        with exclusive(path, seconds):
            return True
    except Locked:
        return False


def append(log: Path, line: str) -> None:
    with log.open("a") as file:
        file.write(f"{line.replace(' ', '_')}\n")


def repeated(log: Path) -> list[str]:
    """The lines of a log that stand in it more than once."""
    counted = Counter(log.read_text().split())
    return [f"{name}: {n} times" for name, n in counted.items() if n > 1]


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
        append(path, run.name)
        return train(run, *arguments, **options)  # type: ignore[arg-type]

    loop.train = logged  # type: ignore[assignment]
