"""What index.html draws: the numbers of the pages, from any number of records."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from subspace_bench.common.errors import UserError
from subspace_bench.experiments import STUDIES, Evidence, Plan, front_page, projectors
from subspace_bench.experiments.best_entries import best_entries
from subspace_bench.experiments.findings import findings_of
from subspace_bench.experiments.projector_accuracy import accuracies
from subspace_bench.profiling.table import read_frame
from subspace_bench.records.store import Record
from subspace_bench.reporting.index_html import to_json

RESULTS = Path(__file__).parents[2] / "results"
READ = ("*.md", "projectors-*.csv", "leaderboard.csv")  # besides records


@pytest.fixture(scope="module")
def records(committed_records: list[Record]) -> list[Record]:
    return committed_records


@pytest.fixture(scope="module")
def data(records: list[Record], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The charts without timings."""
    evidence, empty = Evidence(Plan(), records), tmp_path_factory.mktemp("no-timings")
    return front_page.chart_data(evidence, records, [], empty)


@pytest.mark.parametrize("name", ["mnist-lite", "tutorials"])
def test_rows_name_all_records_of_their_accuracies(name: str, records: list[Record]) -> None:
    page = STUDIES[name].page(Evidence(Plan(), records))
    for table, names in page.records.items():
        for cell, found in zip(page.tables[table]["ours"], names, strict=True):
            n = re.search(r"n = (\d+)", cell)
            assert len(found) == (int(n[1]) if n else cell != "not run")


def test_points_are_the_accuracies_of_the_pages(data: dict[str, Any]) -> None:
    wanted = ("conv net, 100 epochs", "ours", 3_000)
    points = [r for r in data["answer"] if (r["series"], r["source"], r["trained"]) == wanted]
    lines = (RESULTS / "subspace.md").read_text().splitlines()
    line = next(line for line in lines if line.startswith("| 3,000 "))
    assert [point["text"] in line for point in points] == [True]
    assert len(points[0]["records"]) == int(re.search(r"n = (\d+)", line)[1])
    assert all(data["records"][i][0].startswith("conv-d3000-") for i in points[0]["records"])


def test_curves_are_those_of_the_records(data: dict[str, Any], records: list[Record]) -> None:
    by_name = {record.run.name: record for record in records}
    for group in data["curves"]:
        ours = group["ours"]
        assert len(ours["values"]) == len(ours["records"]) == len(ours["seeds"])
        first = by_name[data["records"][ours["records"][0]][0]]
        assert first.run.seed == ours["seeds"][0]
        assert first.accuracy_at(ours["steps"][-1] + 1) == ours["values"][0][-1]


def test_the_headline_is_the_table_of_the_post(records: list[Record]) -> None:
    text = (RESULTS / "subspace.md").read_text()
    quick = Evidence(Plan("quick"), records)
    for row in front_page.headline(quick.at_full_length()):
        cells = [row["trained"], row["post"], re.escape(row["ours"])]
        assert re.search(r"\| " + r" +\| ".join(cells), text)


def test_without_records_there_is_nothing_to_draw(tmp_path: Path) -> None:
    data = front_page.chart_data(Evidence(Plan()), [], [], tmp_path)
    assert {row["source"] for row in data["answer"]} == {"the post"}
    assert data["curves"] == data["records"] == data["projectors"] == []


def test_the_best_entries_are_those_of_the_leaderboard(tmp_path: Path) -> None:
    points = {(row["series"], row["trained"]): row["text"]
              for row in best_entries(RESULTS)}  # fmt: skip
    lines = (RESULTS / "leaderboard.md").read_text().split("\n## ")[0].splitlines()
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "(n = " in line]
    shown = {(f"best entry, {net}", int(dim.replace(",", ""))): accuracy
             for dataset, net, dim, accuracy, *_ in table if dataset == "mnist"}  # fmt: skip
    assert shown == points
    assert not best_entries(tmp_path)
    committed = (RESULTS / "leaderboard.csv").read_text()
    damaged = committed.replace(",99.", ",98.", 1)
    for text in ("", "net,d\n", damaged):
        (tmp_path / "leaderboard.csv").write_text(text)
        with pytest.raises(UserError, match=r"leaderboard\.csv"):
            best_entries(tmp_path)


def test_ten_thousand_records_stay_small(records: list[Record]) -> None:
    found, shared = front_page.collect_records(records[:200], records[:10])
    assert len(found) == 200
    assert not any(record[-1] for record in found)  # committed ones, though local as well
    last = replace(records[0], run=replace(records[0].run, seed=12_345))
    more, same = front_page.collect_records([*records[:200], last], [])
    assert len(more) == 201
    assert same == shared
    per_record = (len(to_json({"records": more})) - len(to_json({"records": found}))) * 10_000
    assert per_record < 1_300_000


@pytest.mark.slow
def test_the_recommended_projector_is_that_of_the_page(records: list[Record]) -> None:
    evidence, path = Evidence(Plan(), records), RESULTS / "projectors-cpu.csv"
    page = projectors.page(path.stem, read_frame(path), accuracies(evidence))
    taken: dict[tuple[str, str], dict[str, Any]] = {}
    for row in front_page.timings(evidence, path)["rows"]:
        if not row["why"]:
            taken.setdefault((f"{row['D']:,}", f"{row['d']:,}"), row)
    for row in page.tables["recommendation"].to_dict("records"):
        best = taken.pop((row["D"], row["d"]))
        assert row["take"] == best["projector"]
        assert row["it takes"] == f"{best['time']} ms, {best['memory']}"
    assert not taken


@pytest.mark.slow
def test_the_committed_file_rebuilds_byte_for_byte(records: list[Record], tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    for path in [path for kind in READ for path in RESULTS.glob(kind)]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    evidence = Evidence(Plan(), records)
    pages = {name: study.page(evidence) for name, study in STUDIES.items()}
    found = findings_of(pages)[0]
    made = front_page.write_front_page(evidence, [*pages.values()], records, [], found, tmp_path)
    assert made.read_bytes() == (RESULTS / "index.html").read_bytes()
    assert made.stat().st_size < 2_500_000
