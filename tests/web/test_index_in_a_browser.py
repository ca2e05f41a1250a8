"""results/index.html in Chromium, as a reader uses it. `nox -s web` installs what this needs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from html_page import DATA, EVIL, VALUES

from subspace_bench.reporting.index_html import Section, write_html
from subspace_bench.reporting.page import Page

sync_api = pytest.importorskip("playwright.sync_api")

INDEX = Path(__file__).parents[2] / "results" / "index.html"
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, on PATH or in $CHROMIUM"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield started
        started.close()


def open_file(browser: Any, path: Path, width: int = 1_400, scheme: str = "light") -> Any:
    """The opened file; `page.problems` lists its errors and network requests."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda m: m.type in ("error", "warning") and page.problems.append(m.text))
    page.on(
        "request",
        lambda r: r.url.startswith(("file:", "data:")) or page.problems.append(r.url),
    )
    page.goto(path.as_uri())
    return page


def open_index(browser: Any, width: int = 1_400, scheme: str = "light") -> Any:
    """results/index.html, once its charts are drawn."""
    page = open_file(browser, INDEX, width, scheme)
    for chart in ("answer", "curves", "cost"):
        page.wait_for_selector(f"#{chart}-chart svg path")
    return page


@pytest.fixture(scope="module")
def page(browser: Any) -> Iterator[Any]:
    """One page for the tests of this module, which must leave no dialog open."""
    opened = open_index(browser)
    yield opened
    assert opened.problems == []


def column(page: Any, table: str, number: int) -> list[str]:
    texts: list[str] = page.locator(f"{table} tbody td:nth-child({number})").all_inner_texts()
    return texts


def test_the_first_screen_has_question_verdict_and_figure(page: Any) -> None:
    assert page.locator("h1").inner_text().endswith("?”")
    assert "published accuracies reproduce" in page.locator("#answer").inner_text()
    top = page.locator("#answer-chart svg").bounding_box()
    assert top["y"] + top["height"] / 2 < 900


def test_tables_sort_by_number_and_filter(page: Any) -> None:
    page.locator("#subspace summary").click()
    table = "#subspace table >> nth=0"
    page.locator(f"{table} >> th button").first.click()
    assert page.locator(f"{table} >> tbody td:nth-child(1)").all_inner_texts() == [
        "1,000", "3,000", "10,000", "21,840",
    ]  # fmt: skip
    page.locator(f"{table} >> th button").first.press("Enter")
    assert page.locator(f"{table} >> tbody td").first.inner_text() == "21,840"
    assert page.locator(f"{table} >> th").first.get_attribute("aria-sort") == "descending"
    page.locator("#choose-table input").fill("hashed")
    assert column(page, "#choose-table", 1) == ["hashed"]
    assert "1 of" in page.locator("#choose-table [role=status]").inner_text()
    page.locator("#choose-table input").fill("")


def test_a_row_shows_its_records(page: Any) -> None:
    page.goto(f"{INDEX.as_uri()}#mnist-lite")
    page.wait_for_selector("#mnist-lite[open]")
    page.locator("#mnist-lite tbody td button").first.click()
    shown = page.locator("#dialog").inner_text()
    for part in ("seed", "revision", "torch", "cpu", "784→16→10", ".json", "batch"):
        assert part in shown
    assert page.locator("#dialog tbody tr").count() >= 5
    link = page.locator("#dialog tbody a").first.get_attribute("href")
    assert (INDEX.parent / link).exists()
    page.keyboard.press("Escape")
    assert not page.locator("#dialog").is_visible()


def test_all_records_can_be_filtered_and_opened(page: Any) -> None:
    page.locator("#records-table input").fill("fc-d30-s1-")
    assert set(column(page, "#records-table", 1)) == {"fc"}
    assert set(column(page, "#records-table", 7)) == {"1"}
    page.locator("#records-table tbody button").first.click()
    assert "1 record" in page.locator("#dialog-title").inner_text()
    page.locator("#dialog form button").click()


def test_curves_switch_by_net_d_and_seed(page: Any) -> None:
    lines = page.locator("#curves-chart .mark-line path")
    before = lines.evaluate_all("all => all.map(line => line.getAttribute('d'))")
    page.select_option("#curves-net", "FC net, 10 epochs")
    page.wait_for_function(
        "old => !old.includes(document.querySelector('#curves-chart .mark-line path')"
        ".getAttribute('d'))",
        arg=before,
    )
    assert "fresh draws" in page.locator("#curves-start").inner_text()
    page.select_option("#curves-start", "fresh draws")
    page.select_option("#curves-d", "1,000")
    page.select_option("#curves-seed", "every")
    page.wait_for_function("document.querySelectorAll('#curves-chart .mark-line path').length >= 5")
    page.select_option("#curves-seed", "0")
    page.wait_for_function("document.querySelectorAll('#curves-chart .mark-line path').length == 1")


def test_hovering_a_chart_shows_numbers(page: Any) -> None:
    page.select_option("#curves-net", "conv net, 100 epochs")
    page.select_option("#curves-seed", "mean")
    page.wait_for_timeout(300)
    page.locator("#curves-chart .mark-symbol.layer_3_marks path").nth(100).hover(force=True)
    page.wait_for_selector("#vg-tooltip-element.visible")
    shown = page.locator("#vg-tooltip-element").inner_text()
    assert "accuracy, %" in shown
    assert "mean of" in shown
    assert not {"undefined", "NaN"} & set(shown.split())


def test_a_point_of_the_answer_shows_its_records(page: Any) -> None:
    page.select_option("#answer-series", "conv net, 100 epochs")
    page.wait_for_timeout(300)
    page.locator("#answer-chart .mark-symbol path").first.click(force=True)
    page.wait_for_selector("#dialog[open]")
    assert "trained parameters" in page.locator("#dialog-title").inner_text()
    page.keyboard.press("Escape")


def test_the_projector_to_take_depends_on_d(page: Any) -> None:
    sizes = page.locator("#choose-D option").evaluate_all("all => all.map(o => o.value)")
    answers = set()
    for native in sizes:
        page.select_option("#choose-D", native)
        answers.add(page.locator("#choose-answer").inner_text())
    assert len(answers) == len(sizes)
    assert all(text.startswith("Take ") for text in answers)


@pytest.mark.parametrize("width, scheme", [(400, "dark"), (1_600, "light")])
def test_it_fits_the_screen_and_is_accessible(browser: Any, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = open_index(browser, width, scheme)
    page.locator("#claims summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = axe.Axe().run(page).response["violations"]
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    assert [(v["id"], v["nodes"][0]["html"]) for v in serious] == []
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("#theme").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != colour
    assert page.problems == []
    page.close()


def test_without_results_it_says_so(browser: Any, tmp_path: Path) -> None:
    page = open_file(browser, write_html([], VALUES, DATA, tmp_path))
    page.wait_for_selector("#records-table table")
    assert "No records yet." in page.locator("#curves").inner_text()
    assert page.locator("#records-table tbody tr").count() == 0
    assert page.problems == []
    page.close()


def test_ten_thousand_records_with_names_of_any_kind(browser: Any, tmp_path: Path) -> None:
    record = [0, 0, 98.0, 98.0, None, 1.0, 2, 0, 0, 0]
    data = DATA | {
        "records": [[f"{i}{EVIL}", *record] for i in range(10_000)],
        **{kind: [{kind: EVIL}] for kind in ("configs", "machines", "revisions")},
    }
    frame = pd.DataFrame({EVIL: [EVIL]})
    shown = Page("evil", EVIL, EVIL, {"t": frame}, records={"t": [[f"7{EVIL}"]]})
    path = write_html([Section.of(shown)], VALUES | {"question": EVIL}, data, tmp_path)
    page = open_file(browser, path)
    page.on("dialog", lambda dialog: page.problems.append("a script ran"))
    page.locator("#evil summary").click()
    page.locator("#evil tbody button").click()
    assert EVIL in page.locator("#dialog").inner_text()
    page.keyboard.press("Escape")
    page.locator("#records-table input").fill("9999")
    page.wait_for_function("document.querySelectorAll('#records-table tbody tr').length == 1")
    assert page.locator("img").count() == 0
    assert page.problems == []
    page.close()
