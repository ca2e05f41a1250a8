"""References and csv files that were damaged, or hold nonsense with a digest made to fit."""

from __future__ import annotations

import csv
import functools
import io
import math
import random
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli_w

from benchmarks import measurements
from benchmarks.torture import subjects
from benchmarks.torture.campaigns import Row, Setting
from benchmarks.torture.files import try_file
from benchmarks.torture.nonsense import mutated, put_nonsense
from subspace_bench.common.files import digest
from subspace_bench.dimension.plan import Plan
from subspace_bench.dimension.task import load
from subspace_bench.dimension.trainings import TrainingRow, Trainings
from subspace_bench.dimension.trial import Outcome, Trial
from subspace_bench.profiling.table import open_csv
from subspace_bench.records.row_digest import COLUMN, row_digest
from subspace_bench.records.table import KeyedTable
from subspace_bench.regression import reference

RESULTS = Path(__file__).parents[2] / "results"
CELLS = ("nan", "inf", "-1", "1e999", "1e308", "text", "0x10", "9" * 400, "150%", "", "<b>", "\x07")
FREE = ("cpu", "cpu_capability", "torch", "numba", "gpu", "revision", "lost")  # columns of any text


def rows(setting: Setting, draw: random.Random) -> Iterator[Row]:
    yield from references(setting, draw)
    yield from tables(setting, draw)


def references(setting: Setting, draw: random.Random) -> Iterator[Row]:
    path = setting.work / "regression.toml"
    subjects.make_reference(path)
    data, original = path.read_bytes(), reference.load(path, "")

    def read(path: Path) -> Any:
        return reference.load(path, "make one")

    row, found = Row("references: bytes damaged, or another file in its place"), 0
    for _ in range(setting.times(300, 30)):
        found += try_file(row, path, *mutated(data, draw), read, lambda new: new == original)
    row.measured = f"{found} reported, {row.times - found} changed no value"
    yield row

    def sensible(new: Any) -> bool:
        samples = [entry.values for entry in new.values()]
        return all(math.isfinite(value) for values in samples for value in values)

    row, found = Row("references: nonsense whose digest was made to fit"), 0
    for _ in range(setting.times(300, 30)):
        what, text = forged_reference(data.decode(), draw)
        found += try_file(row, path, what, text.encode(), read, sensible)
    row.measured = f"{found} reported; the others have finite values of another protocol or origin"
    yield row


def forged_reference(text: str, draw: random.Random) -> tuple[str, str]:
    """A reference in which one value is nonsense that TOML can say."""
    while True:
        content = tomllib.loads(text)
        what = put_nonsense(content, draw, avoid=("sha256",))
        hashed = {key: content[key] for key in ("reference", "history") if key in content}
        try:
            content["sha256"] = digest(hashed)
            return what, tomli_w.dumps(content)
        except (TypeError, ValueError):  # None, and what JSON lacks
            continue


def tables(setting: Setting, draw: random.Random) -> Iterator[Row]:
    lines = (RESULTS / "projectors-cpu.csv").read_bytes().splitlines(keepends=True)
    timings, trainings = b"".join(lines[:20]), write_trainings(setting.work).read_bytes()

    measured = (RESULTS / "leaderboard.csv").read_bytes()
    shutil.copy(RESULTS / "leaderboard.json", setting.work)

    def read_timings(path: Path) -> dict[Any, Any]:
        return open_csv(path).rows

    def read_trainings(path: Path) -> dict[Any, Any]:
        return KeyedTable(path, TrainingRow, ("model", "d", "seed")).rows

    def read_measurements(path: Path) -> dict[Any, Any]:
        lines = measurements.load(path.stem, path.parent).text.to_dict("records")
        return {line[COLUMN]: line for line in lines}

    def written(rows: dict[Any, Any], all_rows: dict[Any, str]) -> bool:
        return all(all_rows.get(key) == repr(row) for key, row in rows.items())  # NaN equals NaN

    row, found = Row("csv files: bytes damaged, or another file in its place"), 0
    for _ in range(setting.times(300, 30)):
        for name, data, read in (
            ("projectors-cpu.csv", timings, read_timings),
            ("linear.csv", trainings, read_trainings),
            ("leaderboard.csv", measured, read_measurements),
        ):
            path = setting.work / name
            path.write_bytes(data)
            whole = {key: repr(row) for key, row in read(path).items()}
            equal = functools.partial(written, all_rows=whole)
            found += try_file(row, path, *mutated(data, draw), read, equal)
    row.measured = f"{found} reported, {row.times - found} changed no cell"
    yield row

    row = Row("csv files: nonsense whose digest was made to fit")
    path = setting.work / "timings.csv"
    for _ in range(setting.times(300, 30)):
        column, cell, text = forged_table(timings.decode(), draw)
        harmless = not cell or (column in (*FREE, "projector") and cell.isprintable())
        what = f"{column} = {cell[:20]!r}"
        try_file(row, path, what, text.encode(), read_timings, always if harmless else never)
    yield row


def always(table: Any) -> bool:
    return True


def never(table: Any) -> bool:
    return False


def forged_table(text: str, draw: random.Random) -> tuple[str, str, str]:
    """A csv in which one cell is nonsense: its column, the cell, and the text."""
    columns, *lines = csv.reader(io.StringIO(text, newline=""))
    line, at = draw.choice(lines), draw.randrange(len(columns) - 1)
    line[at] = draw.choice([cell for cell in CELLS if cell != line[at]])
    line[columns.index(COLUMN)] = row_digest(dict(zip(columns, line, strict=True)))
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([columns, *lines])
    return columns[at], line[at], file.getvalue()


def write_trainings(work: Path) -> Path:
    """The csv of `dimension` with some trainings."""
    trainings = Trainings(load(str(subjects.write_task(work))), Plan(), work)
    for dim in range(10, 30):
        trainings.add(Trial(dim, dim), Outcome(dim / 100, 84, 0.013, 1_000))
    return work / "trainings" / "linear.csv"
