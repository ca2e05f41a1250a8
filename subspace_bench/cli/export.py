"""`subspace-bench export`: records as one table."""

from __future__ import annotations

import json
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Annotated

import typer

from subspace_bench.cli.options import Out, expand
from subspace_bench.common.errors import UserError
from subspace_bench.common.files import write_atomically


def export(
    file: Annotated[
        Path,
        typer.Argument(help="The table, .csv or .parquet; .json describes its columns (Croissant).",
                       parser=expand, metavar="FILE"),
    ],
    curves: Annotated[
        bool, typer.Option("--curves", help="One row a score instead of one row a run.")
    ] = False,
    local: Annotated[
        bool, typer.Option("--local", help="Your records in --out instead of the committed ones.")
    ] = False,
    out: Out = Path("results"),
) -> int:  # fmt: skip
    """Write all records as one table, for pandas.read_csv or read_parquet."""
    if file.suffix not in (".csv", ".parquet", ".json"):
        raise UserError(f"{file}: the name must end in .csv, .parquet or .json")
    if file.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise UserError(f"{file}: parquet needs: pip install pyarrow. Or choose a .csv file")
    from subspace_bench.records import flat
    from subspace_bench.records.committed import committed_store
    from subspace_bench.records.store import Store

    if file.suffix == ".json":
        text = json.dumps(flat.croissant(), indent=1, ensure_ascii=False)
        write_atomically(file, text + "\n")
        print(file)
        return 0
    records = list((Store(out / "runs") if local else committed_store()).records())
    table = flat.curves_table(records) if curves else flat.runs_table(records)
    if file.suffix == ".csv":
        write_atomically(file, table.to_csv(index=False, lineterminator="\n"))
    else:
        content = BytesIO()
        table.to_parquet(content, index=False)
        write_atomically(file, content.getvalue())
    print(f"{file}: {len(table):,} rows of {len(records):,} records")
    return 0
