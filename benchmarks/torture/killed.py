"""Commands killed at random moments and started again, until they end: nothing is lost or wrong."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.torture import processes, subjects, tiny
from benchmarks.torture.campaigns import Row, Setting
from benchmarks.torture.processes import Command
from benchmarks.torture.subjects import Subject
from subspace_bench.common.errors import UserError
from subspace_bench.records.row_digest import COLUMN
from subspace_bench.training.checkpoint import verified

MOST_KILLS = 12  # of one series; then the command may end
PART_OR_LOCK = re.compile(r"\..*\.(part|lock)")  # the next command deletes those of a killed one
Disturb = Callable[[Command, random.Random], object]


def rows(setting: Setting) -> Iterator[Row]:
    series = Series(setting)
    for subject in subjects.subjects(setting.work).values():
        row = Row(f"kill -9 of `{subject.name}`")
        series.disturb(subject, row, setting.times(35, 2), kill, {-signal.SIGKILL})
        yield row
    for subject in real_subjects(setting.work):
        row = Row(f"kill -9 of `python -m subspace_bench {subject.name}`, not forked")
        series.disturb(subject, row, setting.times(10, 0), kill, {-signal.SIGKILL}, real=True)
        if row.times:
            yield row


def real_subjects(work: Path) -> list[Subject]:
    """Commands that are small without `tiny.shrink`."""
    forked = subjects.subjects(work)
    return [
        Subject("train", train, subjects.records),
        replace(forked["compare"], name="compare …"),
        replace(forked["dimension"], name="dimension …"),
    ]


def train(out: Path) -> list[str]:
    run = ["--model", "mlp-16", "--dataset", "mnist-5k", "--device", "cpu", "--steps", "1500"]
    return ["train", *run, "--out", str(out)]


def kill(command: Command, draw: random.Random) -> None:
    command.signal(signal.SIGKILL)


class Series:
    """Commands that are disturbed again and again, each series in a folder of its own."""

    def __init__(self, setting: Setting) -> None:
        self.work, self.draw = setting.work, random.Random(setting.seed)
        self.folders = 0
        tiny.shrink(self.work)
        subjects.make_reference(self.work / "reference.toml")
        (self.work / "temporary").mkdir()
        os.environ["TMPDIR"] = str(self.work / "temporary")
        processes.start_server()
        self.undisturbed: dict[str, tuple[Any, set[str], float]] = {}

    def disturb(
        self,
        subject: Subject,
        row: Row,
        times: int,
        disturb: Disturb,
        tolerated: set[int],
        real: bool = False,
    ) -> None:
        """Disturbs a command until it has been hit so often; ends each series with a result.

        Arguments:
            tolerated: exit codes of a disturbed command, besides those of one that ends by itself.
        """
        if times and subject.name not in self.undisturbed:
            out = self.folder()
            began = time.monotonic()
            command = self.start(subject, out, real)
            row.report(*command.finish())
            if command.code not in subject.codes:
                row.report(f"undisturbed: {command.describe()}")
            seconds = time.monotonic() - began
            self.undisturbed[subject.name] = subject.result(out), files(out), seconds
        while row.times < times and len(row.wrong) < 20:
            self.one_series(subject, row, times, disturb, tolerated, real)

    def one_series(
        self,
        subject: Subject,
        row: Row,
        times: int,
        disturb: Disturb,
        tolerated: set[int],
        real: bool,
    ) -> None:
        expected, names, seconds = self.undisturbed[subject.name]
        out, kept = self.folder(), Kept(subject, out_of=expected)
        for attempt in range(10 * MOST_KILLS):
            command = self.start(subject, out, real)
            if attempt < MOST_KILLS and row.times < times:
                command.wait(self.draw.uniform(0, 0.7) * seconds)
                if command.poll() is None:
                    disturb(command, self.draw)
                    row.count()
            row.report(*command.finish())
            row.report(*(f"worker {pid} survives" for pid in processes.starting_workers()))
            row.report(*kept.check(out))
            row.report(*self.tracebacks())
            if command.code in subject.codes:
                break
            if command.code not in tolerated:
                row.report(f"exit code {command.code}: {command.describe()}")
                return
        if subject.result(out) != expected:
            row.report(f"another result after {attempt} disturbances")
        if strays := files(out) ^ names:
            row.report(f"other files than undisturbed: {sorted(strays)[:5]}")

    def start(self, subject: Subject, out: Path, real: bool) -> Command:
        return Command(subject.arguments(out), self.work / "log", real=real)

    def folder(self) -> Path:
        self.folders += 1
        out = self.work / f"out-{self.folders}"
        out.mkdir()
        return out

    def tracebacks(self) -> list[str]:
        """The files in which commands put tracebacks, which ends no command here."""
        found = list((self.work / "temporary").glob("subspace-bench-*.log"))
        lines = [path.read_text(encoding="utf-8").strip().splitlines()[-1] for path in found]
        for path in found:
            path.unlink()
        return lines


class Kept:
    """What a series has finished so far, which no later command may lose or make again."""

    def __init__(self, subject: Subject, out_of: Any) -> None:
        self.subject = subject
        self.records: dict[Path, int] = {}
        self.updates: dict[Path, int] = {}
        self.rows: dict[Path, set[str]] = {}

    def check(self, out: Path) -> list[str]:
        """What is wrong in the folder of a command that has just ended."""
        wrong = []
        try:
            self.subject.result(out)
        except UserError as failure:
            wrong.append(str(failure))
        records = {path: path.stat().st_mtime_ns for path in out.rglob("*-s*.json")}
        finished = (out / "regression.toml").exists()  # then its records are deleted
        for path, written in self.records.items():
            if not finished and records.get(path) != written:
                wrong.append(f"{path.name} was lost or trained again")
        self.records = records
        checkpoints = {path: updates_in(path) for path in out.rglob("*.checkpoint")}
        for path, updates in self.updates.items():
            if path in checkpoints and checkpoints[path] < updates:
                wrong.append(f"{path.name} fell from {updates} to {checkpoints[path]} updates")
        self.updates = checkpoints
        rows = {path: digests_in(path) for path in out.rglob("*.csv")}
        for path, earlier in self.rows.items():
            if lost := earlier - rows.get(path, set()):
                wrong.append(f"{path.name}: {len(lost)} rows were lost or measured again")
        self.rows = rows
        return wrong


def updates_in(checkpoint: Path) -> int:
    """The number of updates in a checkpoint."""
    import io

    import torch

    content = torch.load(io.BytesIO(verified(checkpoint.read_bytes())), weights_only=True)
    return int(content["state"]["updates"])


def digests_in(path: Path) -> set[str]:
    """The digests of the rows of a csv file; none if it has no digests."""
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    return {line.rpartition(",")[2] for line in lines} if head.endswith(COLUMN) else set()


def files(out: Path) -> set[str]:
    """The names of all files below a folder."""
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
