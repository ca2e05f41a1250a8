"""What index.html draws: the numbers of the pages, from any number of records."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from subspace_bench.experiments import STUDIES, Evidence, Plan, front_page, projectors
from subspace_bench.experiments.projector_accuracy import accuracies
from subspace_bench.profiling.table import read_frame
from subspace_bench.records.store import Record, Store
from subspace_bench.reporting.html import to_json

RESULTS = Path(__file__).parents[2] / "results"


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return list(Store(RESULTS / "records").records())


@pytest.fixture(scope="module")
def data(records: list[Record]) -> dict[str, Any]:
    return front_page.chart_data(Evidence(Plan(), records), records, [], RESULTS)


@pytest.mark.parametrize("name", ["mnist-lite", "tutorials", "projector-accuracy"])
def test_rows_name_all_records_of_their_accuracies(name: str, records: list[Record]) -> None:
    page = STUDIES[name].page(Evidence(Plan(), records))
    for table, names in page.records.items():
        assert len(names) == len(page.tables[table])
        if "ours" in page.tables[table]:
            for cell, found in zip(page.tables[table]["ours"], names, strict=True):
                n = re.search(r"n = (\d+)", cell)
                assert len(found) >= (int(n[1]) if n else cell != "not run")


def test_points_are_the_accuracies_of_the_pages(data: dict[str, Any]) -> None:
    [point] = [
        row
        for row in data["answer"]
        if (row["series"], row["source"], row["trained"]) == ("conv net, 100 epochs", "ours", 3_000)
    ]
    line = next(
        line for line in (RESULTS / "subspace.md").read_text().splitlines() if "| 3,000 " in line
    )
    assert point["text"] in line
    assert len(point["records"]) == int(re.search(r"n = (\d+)", line)[1])
    assert all(data["records"][i][0].startswith("conv-d3000-") for i in point["records"])


def test_curves_are_those_of_the_records(data: dict[str, Any], records: list[Record]) -> None:
    by_name = {record.run.name: record for record in records}
    for group in data["curves"]:
        ours = group["ours"]
        assert len(ours["values"]) == len(ours["records"]) == len(ours["seeds"])
        last = by_name[data["records"][ours["records"][0]][0]]
        assert last.accuracy_at(ours["steps"][-1] + 1) == ours["values"][0][-1]


def test_the_recommended_projector_is_that_of_the_page(
    data: dict[str, Any], records: list[Record]
) -> None:
    frame = read_frame(RESULTS / "projectors-cpu.csv")
    samples = accuracies(Evidence(Plan(), records))
    table = projectors.page("projectors-cpu", frame, samples).tables["recommendation"]
    [timings] = data["projectors"]
    taken: dict[tuple[str, str], dict[str, Any]] = {}
    for row in timings["rows"]:
        if not row["why"]:
            taken.setdefault((f"{row['D']:,}", f"{row['d']:,}"), row)
    assert len(taken) == len(table)
    for row in table.to_dict("records"):
        best = taken[row["D"], row["d"]]
        assert row["take"] == best["projector"]
        assert row["it takes"] == f"{best['time']} ms, {best['memory']}"


def test_without_records_there_is_nothing_to_draw(tmp_path: Path) -> None:
    data = front_page.chart_data(Evidence(Plan()), [], [], tmp_path)
    assert {row["source"] for row in data["answer"]} == {"the post"}
    assert data["curves"] == data["records"] == data["projectors"] == []


def test_ten_thousand_records_stay_small(records: list[Record]) -> None:
    many = [
        replace(
            records[i % len(records)], run=replace(records[i % len(records)].run, seed=1_000 + i)
        )
        for i in range(10_000)
    ]
    found, shared = front_page.collect_records(many, many[:10])
    assert len(found) == 10_000
    assert len(to_json({"records": found, **shared})) < 1_300_000
