"""Disks that are full, read-only or removed, and paths of every kind: one line, nothing lost."""

from __future__ import annotations

import ctypes
import errno
import functools
import itertools
import os
import random
import resource
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks.torture import processes, subjects, tiny
from benchmarks.torture.campaigns import NOT_TRIED, Row, Setting
from benchmarks.torture.killed import files
from benchmarks.torture.processes import Command
from benchmarks.torture.subjects import Subject
from subspace_bench.common.errors import UserError

MS_RDONLY, MS_REMOUNT, CLONE_NEWNS, CLONE_NEWUSER = 1, 32, 0x20000, 0x10000000
DISK_BYTES = 4_000_000
NAMES = {
    "spaces": "two words  and more",
    "non-ASCII": "θ₀ + Pω, größer 空間 🙂",
    "bytes that are no UTF-8": os.fsdecode(b"\xff\xfe"),
    "quotes": 'it\'s "quoted" $HOME `x` *',
    "a leading dash": "-out",
    "a line break": "two\nlines",
    "markup": "<b>[x](y)|",
    "long": "/".join(["x" * 200] * 15),
}
COMMANDS = ("reproduce", "compare", "check --update-reference", "dimension")


def rows(setting: Setting) -> Iterator[Row]:
    work = setting.work
    tiny.shrink(work)
    os.environ["TMPDIR"] = str(work)
    disk = work / "disk"
    disk.mkdir()
    mounted = mount(disk)  # before the server starts, so that workers see it
    subjects.make_reference(work / "reference.toml")
    processes.start_server()
    names = COMMANDS[:: setting.times(1, 3)]
    trials = Trials(work, {name: subjects.subjects(work)[name] for name in names})
    draw = random.Random(setting.seed)
    yield every_write(trials, setting)
    yield from limited_files(trials, setting, draw)
    if mounted:
        yield from full_disk(trials, setting, disk, draw)
        yield read_only_disk(trials, disk)
    else:
        yield Row("a full disk, and a read-only one", measured=NOT_TRIED)
    yield removed_folder(trials, setting, draw)
    yield paths(trials, setting)


class Trials:
    """Commands that meet a bad disk, and then a good one."""

    def __init__(self, work: Path, chosen: Mapping[str, Subject]) -> None:
        self.work, self.subjects = work, chosen
        self.expected = {}
        for name, subject in self.subjects.items():
            out = work / f"good {name}"
            out.mkdir()
            processes.run(subject.arguments(out), work / "log")
            self.expected[name] = subject.result(out), files(out)

    def start(
        self, subject: Subject, out: Path, set_up: Callable[[], object] = lambda: None
    ) -> Command:
        return Command(subject.arguments(out), self.work / "log", set_up=set_up)

    def fail(
        self, subject: Subject, out: Path, command: Command, limit: float = float("inf")
    ) -> list[str]:
        """Waits for a command that may fail; what is wrong with how it did.

        Arguments:
            limit: bytes to which its output was cut, too: then its lines cannot be counted.
        """
        wrong = command.finish()
        cut = command.output_bytes() >= limit
        errors = [line for line in command.err.splitlines() if line.startswith("error:")]
        if command.code not in (*subject.codes, 1, 2):
            wrong.append(command.describe())
        if command.code == 2 and len(errors) != 1 and not cut:
            wrong.append(f"{len(errors)} error lines: {command.describe()}")
        if "Traceback" in command.err or list(self.work.glob("subspace-bench-*.log")):
            wrong.append(f"traceback: {command.describe()}")
        try:
            subject.result(out)
        except UserError as failure:
            wrong.append(f"half a file: {failure}")
        return wrong

    def go_on(self, subject: Subject, out: Path) -> list[str]:
        """Runs the command on a good disk; what differs from one that met no bad disk."""
        command = processes.run(subject.arguments(out), self.work / "log")
        if command.code not in subject.codes:
            return [f"afterwards: {command.describe()}"]
        result, names = self.expected[subject.name]
        wrong = [] if subject.result(out) == result else ["afterwards: another result"]
        strays = files(out) ^ names
        return [*wrong, *([f"afterwards: other files: {sorted(strays)[:5]}"] if strays else [])]


def every_write(trials: Trials, setting: Setting) -> Row:
    """The first write of a command fails, then the second one, and so on."""
    row = Row("no space left at one write of a command, at each in turn")
    for subject in trials.subjects.values():
        for number in range(1, setting.times(1_000, 3)):
            out, failed = trials.work / f"write-{row.times}", trials.work / "failed"
            out.mkdir()
            command = trials.start(
                subject, out, set_up=functools.partial(fail_write, number, failed)
            )
            wrong = trials.fail(subject, out, command)
            if not failed.exists():  # it made fewer writes
                shutil.rmtree(out)
                break
            row.count(*wrong, *trials.go_on(subject, out))
            failed.unlink()
            shutil.rmtree(out)
    return row


def fail_write(number: int, failed: Path) -> None:
    """Makes one write of this process fail, and none of its workers."""
    sync, calls = os.fsync, itertools.count(1)

    def counted(descriptor: int) -> None:
        if next(calls) == number:
            failed.touch()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    os.fsync = counted  # type: ignore[assignment]


def limited_files(trials: Trials, setting: Setting, draw: random.Random) -> Iterator[Row]:
    row, failed = Row("a limit on the size of files (RLIMIT_FSIZE)"), 0
    for _ in range(setting.times(8, 1)):
        for subject in trials.subjects.values():
            size = int(2 ** draw.uniform(0, 15))

            def limit(size: int = size) -> None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

            out = trials.work / f"limited-{row.times}"
            out.mkdir()
            command = trials.start(subject, out, set_up=limit)
            row.count(*trials.fail(subject, out, command, size))
            failed += command.code not in subject.codes
            row.report(*trials.go_on(subject, out))
    row.measured = f"{failed} commands failed, and went on without the limit"
    yield row


def full_disk(trials: Trials, setting: Setting, disk: Path, draw: random.Random) -> Iterator[Row]:
    row, failed = Row("a full disk (tmpfs)"), 0
    for i in range(setting.times(8, 1)):
        for subject in trials.subjects.values():
            out, filler = disk / f"out-{i}", disk / "filler"
            out.mkdir()
            fill(filler, disk, leave=int(2 ** draw.uniform(0, 18)))
            command = trials.start(subject, out)
            row.count(*trials.fail(subject, out, command))
            failed += command.code not in subject.codes
            filler.unlink()
            row.report(*trials.go_on(subject, out))
            shutil.rmtree(out)
    row.measured = f"{failed} commands failed, and went on when there was space"
    yield row


def read_only_disk(trials: Trials, disk: Path) -> Row:
    row = Row("a disk that becomes read-only: before the command, or while it runs")
    for subject in trials.subjects.values():
        for seconds in (0.0, 0.2, 0.5):
            out = disk / "out"
            out.mkdir()
            if seconds:
                command = trials.start(subject, out)
                command.wait(seconds)
                changed = remount(disk, MS_RDONLY)
            else:
                changed = remount(disk, MS_RDONLY)
                command = trials.start(subject, out)
            wrong = trials.fail(subject, out, command)
            remount(disk, 0)
            wrong += trials.go_on(subject, out)
            if changed:
                row.count(*wrong)
            shutil.rmtree(out)
    return row


def removed_folder(trials: Trials, setting: Setting, draw: random.Random) -> Row:
    row = Row("the output folder is removed while the command runs")
    for i in range(setting.times(8, 1)):
        for subject in trials.subjects.values():
            out = trials.work / f"removed-{i}"
            out.mkdir()
            command = trials.start(subject, out)
            command.wait(draw.uniform(0, 1))
            shutil.rmtree(out, ignore_errors=True)
            row.count(*trials.fail(subject, out, command))
            row.report(*trials.go_on(subject, out))
            shutil.rmtree(out, ignore_errors=True)
    return row


def paths(trials: Trials, setting: Setting) -> Row:
    row = Row(f"paths: {', '.join(NAMES)}")
    for name in NAMES.values():
        for subject in list(trials.subjects.values())[: setting.times(9, 1)]:
            out = trials.work / "paths" / name
            wrong = []
            if name != NAMES["long"]:
                out.mkdir(parents=True)
                wrong = trials.go_on(subject, out)
            else:  # too long for some systems: then one line says so
                wrong = trials.fail(subject, out, trials.start(subject, out))
            row.count(*(f"{name!r}: {line}" for line in wrong))
            shutil.rmtree(trials.work / "paths", ignore_errors=True)
    return row


def fill(path: Path, disk: Path, leave: int) -> None:
    """Fills a disk with one file, but for some bytes."""
    with path.open("wb") as file:
        free = shutil.disk_usage(disk).free
        os.posix_fallocate(file.fileno(), 0, max(1, free - leave))


def mount(folder: Path) -> bool:
    """Mounts a small disk for this process and its children; False where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) and libc.unshare(CLONE_NEWNS | CLONE_NEWUSER):
        return False
    libc.mount(b"none", b"/", None, 1 << 18 | 1 << 14, None)  # private: nobody else sees it
    options = f"size={DISK_BYTES}".encode()
    return bool(libc.mount(b"tmpfs", bytes(folder), b"tmpfs", 0, options) == 0)


def remount(folder: Path, flags: int) -> bool:
    """Makes the disk read-only, or writable again; it is busy while a file is being written."""
    libc = ctypes.CDLL(None, use_errno=True)
    for _ in range(200):
        if libc.mount(b"tmpfs", bytes(folder), b"tmpfs", MS_REMOUNT | flags, None) == 0:
            return True
        time.sleep(0.01)
    return False
