"""index.html: its tables are those of the markdown pages; only our own script is executed."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from html_page import DATA, EVIL, VALUES

from subspace_bench.reporting.html import Section, body, page_html, to_json
from subspace_bench.reporting.page import Page

RESULTS = Path(__file__).parents[2] / "results"


class Tables(HTMLParser):
    """Collects the cells of every table, and the numbers of records of every row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.records: list[str | None] = []
        self.scripts = 0
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
            self.records.append(dict(attrs).get("data-records"))
        elif tag in ("td", "th"):
            self._in_cell = True
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_cell &= tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.tables[-1][-1][-1] += data


def cells_of_markdown(text: str) -> list[list[str]]:
    """The cells of all table rows, without code marks and links."""
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text).replace("&lt;", "<").replace("`", "")
    lines = [line for line in plain.splitlines() if re.match(r"\|(?!:?-)", line)]
    split = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    return [[cell.replace(r"\|", "|").strip() for cell in cells] for cells in split]


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.md")), ids=lambda path: path.stem)
def test_tables_have_the_cells_of_the_markdown(path: Path) -> None:
    text = path.read_text()
    found = Tables(body(Section(path.stem, text), set(), {}))
    unmarked = [[cell.replace("*", "") for cell in row] for table in found.tables for row in table]
    expected = [[cell.replace("*", "") for cell in row] for row in cells_of_markdown(text)]
    assert unmarked == expected


def test_rows_lead_to_their_records() -> None:
    first, second = pd.DataFrame({"a": ["x", "y"]}), pd.DataFrame({"b": ["z"]})
    records = {"second": [["r2"]], "first": [["r0", "r1"], []]}
    page = Page("p", "T", "S", {"first": first, "second": second}, records=records)
    text = body(Section.of(page), set(), {"r0": 0, "r1": 1, "r2": 2})
    assert Tables(text).records == [None, "0 1", None, None, "2"]


def test_links_between_pages_stay_in_the_file() -> None:
    text = "# T\n\n**S**\n\n[a](claims.md) [b](README.md#how-to-read-a-page) [c](x.csv) [d](y.md)\n"
    html = body(Section("p", text), {"claims"}, {})
    links = re.findall('href="([^"]*)"', html)
    assert links == ["#claims", "#how-to-read-a-page", "x.csv", "y.md"]
    assert "<h1" not in html


def test_headings_and_first_links_are_those_of_the_pages() -> None:
    section = Section("peers", "# Beside `torch`\n\n**Faster: `hashed`**\n")
    html = page_html([section], VALUES, DATA, "")
    assert "Beside <code>torch</code>" in html
    assert "Faster: <code>hashed</code>" in html
    assert html.count('href="#peers"') == 1
    assert 'href="#reliability"' not in html


def test_nothing_that_a_name_holds_is_executed() -> None:
    plain = Tables(page_html([], VALUES, DATA, ""))
    page = Page("p", EVIL, EVIL, {"t": pd.DataFrame({EVIL: [EVIL]})}, notices=[EVIL])
    data = DATA | {"records": [[EVIL, 0]], "configs": [{"model": EVIL}]}
    values = VALUES | {"question": EVIL, "notices": [EVIL]}
    html = page_html([Section.of(page)], values, data, "'</script>'")
    assert Tables(html).scripts == plain.scripts
    assert "<img" not in html
    assert json.loads(to_json(data)) == data


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_json({"answer": [float("nan")]})


def test_equal_pages_give_equal_text() -> None:
    section = Section("p", "# T\n\n**S**\n\n| a |\n|:--|\n| 1 |\n")
    assert page_html([section], VALUES, DATA, "") == page_html([section], VALUES, DATA, "")
