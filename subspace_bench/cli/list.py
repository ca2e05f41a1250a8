"""`subspace-bench list`: the names that other commands take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from subspace_bench.cli.options import Out
from subspace_bench.common.errors import UserError
from subspace_bench.common.formatting import make_console, print_table

if TYPE_CHECKING:
    from subspace_bench.records.store import Store


def list_(
    out: Out = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """List pages, models and projectors, and count records."""
    import pandas as pd

    from subspace_bench import models, projectors
    from subspace_bench.experiments import STUDIES
    from subspace_bench.records.committed import committed_store
    from subspace_bench.records.store import Store

    tables = {
        "Pages": [{"page": study.name, "title": study.title} for study in STUDIES.values()],
        "Models": [
            {"model": name, "parameters": f"{models.parameter_count(models.build(name)):,}"}
            for name in models.MODELS
        ],
        "Projectors": [
            {"projector": name, "description": describe_projector(name)}
            for name in projectors.names()
        ],
        "Records": [
            count_records("committed", committed_store()),
            count_records("local", Store(out / "runs")),
        ],
    }
    if as_json:
        print(json.dumps({title.lower(): rows for title, rows in tables.items()}, indent=1))
        return 0
    console = make_console()
    for title, rows in tables.items():
        print_table(console, title, pd.DataFrame(rows))
    return 0


def describe_projector(name: str) -> str:
    """The first line of a projector's docstring, or why it does not load."""
    from subspace_bench import projectors

    try:
        return ((projectors.load(name).__doc__ or "").strip().splitlines() or [""])[0]
    except UserError as failure:
        return str(failure)


def count_records(name: str, store: Store) -> dict[str, str]:
    """How many records a store has; stale ones are of an earlier numerics version."""
    from subspace_bench.records.config import NUMERICS

    records = list(store.records())
    stale = sum(record.run.numerics != NUMERICS for record in records)
    return {
        "records": name,
        "current": str(len(records) - stale),
        "stale": str(stale),
        "folder": str(store.folder),
    }
