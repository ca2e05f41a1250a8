"""The page results/reliability.md, from the rows of campaigns."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks import measurements
from benchmarks.measurements import Measurements
from benchmarks.torture.campaigns import CAMPAIGNS, Row
from subspace_bench.common.errors import UserError
from subspace_bench.records import provenance
from subspace_bench.reporting.page import Page

HERE = Path(__file__).parents[2]
NAME = "reliability"
COLUMNS = ("campaign", "tried", "times", "wrong", "measured", "revision", "date")


def merge(name: str, rows: Sequence[Row], out: Path) -> None:
    """Puts the rows of a campaign in place of its earlier ones."""
    try:
        saved = measurements.load(NAME, out)
        text, facts = saved.text, saved.facts
    except UserError:
        text, facts = pd.DataFrame(columns=COLUMNS), {}
    new = [
        (name, row.tried, row.times, len(row.wrong), row.measured,
         revision(), time.strftime("%Y-%m-%d"))
        for row in rows
    ]  # fmt: skip
    frame = pd.concat([text[text["campaign"] != name], pd.DataFrame(new, columns=COLUMNS)])
    order = {name: i for i, name in enumerate(CAMPAIGNS)}
    frame = frame.sort_values("campaign", key=lambda names: names.map(order), kind="stable")
    machine = {key: provenance.machine()[key] for key in ("cpu", "python", "torch")}
    wrong = {row.tried: row.wrong for row in rows if row.wrong}
    measurements.save(
        NAME, out, frame, {**machine, "wrong": {**facts.get("wrong", {}), name: wrong}}
    )


def revision() -> str:
    """The revision of the repository, eight digits; "+" marks changes that are not committed.

    Pages and tables in results/ do not count, which campaigns write.
    """

    def git(*arguments: str) -> str:
        return subprocess.check_output(["git", *arguments], cwd=HERE, text=True).strip()

    changed = git("status", "--porcelain", "--", ":/", ":!/results/*.*")
    return git("rev-parse", "HEAD")[:8] + "+" * bool(changed)


def is_finished(name: str, out: Path) -> bool:
    """Whether a campaign has rows of this very revision, and nothing was lost or wrong in it."""
    try:
        rows = measurements.load(NAME, out).text
    except UserError:
        return False
    rows = rows[rows["campaign"] == name]
    now = revision()
    fine = (rows["revision"] == now) & (rows["wrong"] == "0")
    return len(rows) > 0 and bool(fine.all()) and "+" not in now


def page(measurements: Measurements) -> Page:
    """The page results/reliability.md."""
    # A revision may look like a number: it is a string in `text`.
    rows = measurements.numbers.assign(revision=measurements.text["revision"])
    tables = {}
    for name in CAMPAIGNS:
        of = rows[rows["campaign"] == name]
        if of.empty:
            continue
        tables[name] = pd.DataFrame(
            {
                "tried": of["tried"],
                "times": [f"{n:,}" for n in of["times"]],
                "lost or wrong": [f"{n:,}" for n in of["wrong"]],
                "measured": of["measured"].fillna(""),
                "revision": of["revision"],
            }
        )
    wrong, tried = int(rows["wrong"].sum()), rows[rows["times"] > 0]
    summary = (
        f"{len(tried)} kinds of disturbance in {tried['campaign'].nunique()} campaigns: {wrong:,} "
        "results lost or wrong."
    )
    values = {"facts": measurements.facts, "campaigns": CAMPAIGNS, "dates": _span(rows["date"])}
    return Page(
        NAME,
        "Reliability",
        summary,
        tables,
        measurements.text,
        values,
        command="python -m benchmarks.torture --rebuild",
    )


def _span(dates: pd.Series) -> str:
    first, last = dates.min(), dates.max()
    return str(first) if first == last else f"{first} to {last}"
