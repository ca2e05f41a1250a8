"""Signals at random moments: each ends a command with its checkpoints, and nothing is lost."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator

from benchmarks.torture import subjects
from benchmarks.torture.campaigns import Row, Setting
from benchmarks.torture.killed import Disturb, Series, real_subjects
from benchmarks.torture.processes import Command

INTERRUPTED, FAILED_RUNS = 130, 1


def rows(setting: Setting) -> Iterator[Row]:
    series = Series(setting)
    reproduce = subjects.subjects(setting.work)["reproduce"]
    for name, disturb in SIGNALS.items():
        row = Row(f"`reproduce`: {name}")
        code = FAILED_RUNS if disturb is kill_a_worker else INTERRUPTED
        series.disturb(reproduce, row, setting.times(8, 1), disturb, {code})
        yield row
    for subject in real_subjects(setting.work):
        row = Row(f"SIGTERM to `python -m subspace_bench {subject.name}`, also while it starts")
        codes = {INTERRUPTED, -signal.SIGTERM}  # in its first moments, it ends as any program
        series.disturb(subject, row, setting.times(70, 0), terminate_at_once, codes, real=True)
        if row.times:
            yield row


def terminate(command: Command, draw: random.Random) -> None:
    command.wait_for_handler(signal.SIGTERM)
    command.signal(signal.SIGTERM)


def terminate_at_once(command: Command, draw: random.Random) -> None:
    command.signal_group(signal.SIGTERM)


def terminate_group(command: Command, draw: random.Random) -> None:
    command.wait_for_handler(signal.SIGTERM)
    command.signal_group(signal.SIGTERM)


def interrupt_twice(command: Command, draw: random.Random) -> None:
    command.wait_for_handler(signal.SIGTERM)  # with that of SIGINT
    command.signal_group(signal.SIGINT)
    time.sleep(draw.uniform(0, 0.2))
    command.signal_group(signal.SIGINT)


def hang_up(command: Command, draw: random.Random) -> None:
    command.wait_for_handler(signal.SIGHUP)
    command.signal_group(signal.SIGHUP)


def kill_a_worker(command: Command, draw: random.Random) -> None:
    if workers := command.workers():
        os.kill(draw.choice(workers), signal.SIGKILL)


SIGNALS: dict[str, Disturb] = {
    "SIGTERM to the process": terminate,
    "SIGTERM to its group": terminate_group,
    "SIGINT twice to its group": interrupt_twice,
    "SIGHUP to its group": hang_up,
    "kill -9 of one worker": kill_a_worker,
}
