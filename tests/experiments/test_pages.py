"""The committed pages rebuild byte for byte, from any number of records."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from committed_files import committed

from subspace_bench.experiments import STUDIES, Evidence, Plan
from subspace_bench.experiments.findings import findings
from subspace_bench.records.store import Record
from subspace_bench.reporting.index import write_index
from subspace_bench.reporting.render import markdown, read_summary, write_page
from subspace_bench.reporting.statistics import REPRODUCES

RESULTS = Path(__file__).parents[2] / "results"


@pytest.fixture(scope="module")
def evidence(committed_records: list[Record]) -> Evidence:
    """All committed records."""
    return Evidence(Plan(), committed_records)


@pytest.mark.parametrize("profile", ["quick", "post"])
@pytest.mark.parametrize("name", STUDIES)
def test_pages_can_be_made_without_records(name: str, profile: str) -> None:
    page = STUDIES[name].page(Evidence(Plan(profile)))
    frame = next(iter(page.tables.values()))
    assert not (frame == REPRODUCES).to_numpy().any()
    text = markdown(page)
    assert text.startswith(f"# {STUDIES[name].title}\n")
    assert read_summary(text) == page.summary


@pytest.mark.parametrize("name", STUDIES)
def test_committed_pages_rebuild_byte_for_byte(
    name: str, evidence: Evidence, tmp_path: Path
) -> None:
    write_page(STUDIES[name].page(evidence), tmp_path)
    for kind in ("md", "csv"):
        file = f"{name}.{kind}"
        assert (tmp_path / file).read_bytes() == committed(f"results/{file}")
    for figure in (tmp_path / "figures").glob("*"):
        assert (RESULTS / "figures" / figure.name).exists()


def test_the_committed_index_rebuilds_byte_for_byte(
    committed_records: list[Record], tmp_path: Path
) -> None:
    for page in RESULTS.glob("*.md"):
        (tmp_path / page.name).write_bytes(committed(f"results/{page.name}"))
    write_index(tmp_path, STUDIES, *findings(committed_records))
    assert (tmp_path / "README.md").read_bytes() == committed("results/README.md")


def test_pages_and_figures_are_the_same_bytes_twice(evidence: Evidence, tmp_path: Path) -> None:
    page, out = STUDIES["subspace"].page(evidence), tmp_path / "out"
    first = {path: path.read_bytes() for path in write_page(page, out)}
    assert {path.suffix for path in first} == {".md", ".csv", ".svg", ".png"}
    shutil.rmtree(out)
    write_page(page, out)
    assert first == {path: path.read_bytes() for path in first}


@pytest.mark.parametrize("path", list(RESULTS.glob("*.md")), ids=lambda path: path.stem)
def test_no_page_prints_a_negative_zero(path: Path) -> None:
    assert not re.search(r"-0\.0+\b", path.read_text())
