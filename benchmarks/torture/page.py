"""The page results/reliability.md, from the rows of campaigns."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks import measurements
from benchmarks.measurements import Measurements
from benchmarks.torture.campaigns import CAMPAIGNS, Row
from subspace_bench.common.errors import UserError
from subspace_bench.profiling.table import short_revision
from subspace_bench.records import provenance
from subspace_bench.reporting.page import Page

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
         short_revision(), time.strftime("%Y-%m-%d"))
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


def page(measurements: Measurements) -> Page:
    """The page results/reliability.md."""
    rows = measurements.numbers
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
    wrong = int(rows["wrong"].sum())
    summary = (
        f"{len(rows)} kinds of disturbance in {rows['campaign'].nunique()} campaigns: {wrong:,} "
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
