"""Records as tables: every record, its own values, and a description of every column."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest

from subspace_bench import cli
from subspace_bench.records import flat
from subspace_bench.records.committed import committed_store
from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Record

RESULTS = Path(__file__).parents[2] / "results"


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return [record for i, record in enumerate(committed_store().records()) if i % 20 == 0]


def test_a_row_has_the_values_of_its_record(records: list[Record]) -> None:
    table = flat.runs_table(records).set_index("record")
    assert len(table) == len(records)
    assert list(table.columns) == [column.name for column in flat.COLUMNS]
    for record in records:
        row = table.loc[record.run.name]
        assert row["accuracy"] == record.result["accuracy"]
        assert row["lr"] == record.run.protocol.lr
        assert row["revision"] == record.provenance["revision"]
        assert pd.isna(row["dim"]) if record.run.dim is None else row["dim"] == record.run.dim


def test_every_field_of_a_run_has_a_column() -> None:
    assert {f"run.{f.name}" for f in fields(RunConfig)} - {"run.protocol"} <= {
        column.path for column in flat.COLUMNS
    }


def test_curves_have_a_row_for_each_score(records: list[Record]) -> None:
    table = flat.curves_table(records)
    assert len(table) == sum(len(record.result["curve"]) for record in records)
    last = table.iloc[-1]
    assert [last["updates"], last["accuracy"], last["loss"]] == records[-1].result["curve"][-1]


def test_the_committed_description_is_of_these_columns() -> None:
    assert json.loads((RESULTS / "croissant.json").read_text()) == flat.croissant()


@pytest.mark.parametrize("name, message", [("x.xlsx", ".csv"), ("x", ".parquet")])
def test_other_formats_are_refused(name: str, message: str, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["export", str(tmp_path / name)])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_pandas_reads_the_export(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["export", str(tmp_path / "runs.csv"), "--local", "--out", str(tmp_path)])
    assert end.value.code == 0
    assert "record" in pd.read_csv(tmp_path / "runs.csv")


def test_the_dictionary_in_the_docs_has_every_column() -> None:
    text = (RESULTS.parent / "docs" / "records.md").read_text()
    for column in flat.COLUMNS:
        row = f"| `{column.name}` | {column.kind} | {column.meaning} | `{column.path}` |"
        assert row in text
