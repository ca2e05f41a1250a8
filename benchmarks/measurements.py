"""The measurements of a benchmark script: numbers in `<name>.csv`, facts in `<name>.json`.

A page depends only on these two files, so it can be rebuilt without measuring. Each row of the csv
has a digest: a cell that was changed by hand or by damage is found.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from subspace_bench.common.errors import UserError
from subspace_bench.common.files import read_regular, write_atomically
from subspace_bench.common.schema import parse_json
from subspace_bench.records import row_digest
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.render import write_page

RESULTS = Path(__file__).parents[1] / "results"


@dataclass(frozen=True)
class Measurements:
    """The numbers behind a page.

    Attributes:
        text: the csv as strings, so that it is written back byte for byte.
        numbers: the same with numeric columns.
        facts: machine, versions, options, single numbers.
    """

    text: pd.DataFrame
    numbers: pd.DataFrame
    facts: dict[str, Any]


def options(doc: str | None) -> argparse.ArgumentParser:
    """The options of every script: --rebuild and --out.

    Arguments:
        doc: the script's docstring, whose first line is shown by --help.
    """
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--rebuild", action="store_true", help="write the page; measure nothing")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the page")
    return parser


def run(
    doc: str | None,
    name: str,
    measure: Callable[[Path], None],
    page: Callable[[Measurements], Page],
) -> None:
    """The command of a script without options of its own: measures, then writes the page.

    Arguments:
        doc: the script's docstring.
        measure: folder → csv and json in it.
    """
    given = options(doc).parse_args()
    if not given.rebuild:
        measure(given.out)
    print(*write_page(page(load(name, given.out)), given.out), sep="\n")


def save(name: str, out: Path, rows: pd.DataFrame, facts: dict[str, Any]) -> None:
    """Writes `<name>.csv` and `<name>.json` into `out`."""
    write_atomically(out / f"{name}.csv", with_digests(rows))
    text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    write_atomically(out / f"{name}.json", text)


def with_digests(rows: pd.DataFrame) -> str:
    """A csv of the rows, each with a new digest in the last column."""
    text = rows.drop(columns=row_digest.COLUMN, errors="ignore").to_csv(index=False)
    columns, *lines = csv.reader(io.StringIO(text, newline=""))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*columns, row_digest.COLUMN])
    for line in lines:
        cells = dict(zip(columns, line, strict=True))
        writer.writerow([*line, row_digest.row_digest(cells)])
    return file.getvalue()


def require_digests(text: str) -> None:
    """Checks that every row of a csv has a digest, which fits.

    Raises:
        ValueError: if not.
    """
    columns, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    if columns[-1] != row_digest.COLUMN:
        raise ValueError(f"its last column is not {row_digest.COLUMN}")
    for number, line in enumerate(lines, 2):
        if len(line) != len(columns):
            raise ValueError(f"row {number} has {len(line)} cells")
        row_digest.require_digest(dict(zip(columns, line, strict=True)), f"row {number}: ")


def load(name: str, out: Path) -> Measurements:
    """Reads `<name>.csv` and `<name>.json`.

    Raises:
        UserError: nothing has been measured into `out` yet, or a file is damaged.
    """
    table, facts = out / f"{name}.csv", out / f"{name}.json"
    try:
        data = read_regular(table)
        require_digests(data.decode("utf-8"))
        text = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)
        numbers = pd.read_csv(io.BytesIO(data)).drop(columns=row_digest.COLUMN, errors="ignore")
        return Measurements(text, numbers, parse_json(read_regular(facts)))
    except FileNotFoundError as failure:
        raise UserError(
            f"{out} lacks {table.name} or {facts.name}: measure first, without --rebuild"
        ) from failure
    except (OSError, ValueError, csv.Error, RecursionError) as failure:
        first = str(failure).splitlines()[0]
        raise UserError(
            f"{table} or {facts.name} is damaged ({first}): restore it, or measure again"
        ) from failure
