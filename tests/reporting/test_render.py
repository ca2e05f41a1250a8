"""Pages as markdown, csv and figures, and the index of pages."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import jinja2
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from subspace_bench.common.errors import UserError
from subspace_bench.reporting import index_html, render
from subspace_bench.reporting.figures import PageFigure
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.page_list import write_index
from subspace_bench.reporting.render import markdown, markdown_table, read_summary, write_page

FRAME = pd.DataFrame({"a": ["1,000", "x | y"], "b": ["0.10", ""]})


def draw() -> Figure:
    figure, axes = plt.subplots()
    axes.plot([0, 1], [0, 1])
    return figure


PAGE = Page(
    "page-of-a-test",
    "A page",
    "1 of 2 holds",
    {"first": FRAME},
    pd.DataFrame({"n": [1, 2]}),
    figures={"line": PageFigure(draw, "A line")},
)


def test_tables_keep_their_digits_and_escape_bars() -> None:
    rows = markdown_table(FRAME).splitlines()
    assert [cell.strip() for cell in rows[2].split("|")[1:-1]] == ["1,000", "0.10"]
    assert r"x \| y" in rows[3]


def test_a_page_without_a_template_is_its_tables_and_figures() -> None:
    text = markdown(PAGE)
    assert text.startswith("# A page\n\n**1 of 2 holds**\n\n")
    assert text.index(markdown_table(FRAME)) < text.index("![A line](figures/line.svg)")
    assert "page-of-a-test.csv" in text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_notices_follow_the_summary() -> None:
    lines = markdown(replace(PAGE, notices=["first", "second"])).splitlines()
    assert [line for line in lines if line.startswith(">")] == ["> first", "> second"]
    assert lines.index("> second") < lines.index(markdown_table(FRAME).splitlines()[0])


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        markdown(replace(PAGE, name="subspace"))


def test_figures_that_are_not_drawn_again_stay(tmp_path: Path) -> None:
    names = {path.name for path in write_page(PAGE, tmp_path)}
    assert names == {"page-of-a-test.md", "page-of-a-test.csv", "line.svg", "line.png"}
    before = (tmp_path / "figures" / "line.svg").stat().st_mtime_ns
    assert len(write_page(PAGE, tmp_path, figures=False)) == 2
    assert (tmp_path / "figures" / "line.svg").stat().st_mtime_ns == before
    assert pd.read_csv(tmp_path / "page-of-a-test.csv")["n"].tolist() == [1, 2]


def test_an_unwritable_folder_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError):
        write_page(PAGE, tmp_path / "file")


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        ("# A\n\n**Found 3.**\n\ntext\n", "Found 3."),
        ("# A\n\ntext\n\n**Found 3.**\n", ""),
        ("# A\n\n**Bold** start\n", ""),
        ("# A\n", ""),
    ],
)
def test_the_summary_is_the_bold_line_under_the_title(text: str, summary: str) -> None:
    assert read_summary(text) == summary


def test_the_index_lists_every_page_with_its_summary(tmp_path: Path) -> None:
    for name, summary in (("b", "2 of 2"), ("a", "1 of 1"), ("z", "0 of 3 | none")):
        write_page(Page(name, name.upper(), summary), tmp_path)
    text = write_index(tmp_path, ["z", "absent"]).read_text()
    rows = [line for line in text.splitlines() if line.startswith("| [")]
    links = [row.split("](")[1].split(")")[0] for row in rows]
    assert links == ["z.md", "a.md", "b.md"]
    assert r"0 of 3 \| none" in rows[0]
    assert write_index(tmp_path, ["z"]).read_text() == text  # the index does not list itself


FOREIGN = {
    "empty.md": b"",
    "latin.md": "# Caf\xe9 <script>alert(1)</script> | [x](y)\n\n**90%\x0c<img>**\n".encode(
        "latin-1"
    ),
    "binary.md": bytes(range(256)),
    "a b (c) | d.md": b"\n\ntext\n",
    "long.md": b"# Long\n" + b"x" * 200_000,
}


def test_foreign_files_in_the_folder_do_not_stop_the_index(tmp_path: Path) -> None:
    write_page(PAGE, tmp_path, figures=False)
    for name, content in FOREIGN.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.md").mkdir()
    os.mkfifo(tmp_path / "pipe.md")
    (tmp_path / "dangling.md").symlink_to("nowhere")
    text = write_index(tmp_path).read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| [")]
    assert all(len(re.split(r"(?<!\\)\|", row)) == 4 for row in rows)  # two cells each
    assert [row.split("](")[-1].split(")")[0] for row in rows] == [
        "a%20b%20%28c%29%20%7C%20d.md", "binary.md", "latin.md", "long.md", "page-of-a-test.md"
    ]  # fmt: skip
    assert "<script" not in text
    assert "<img" not in text
    assert write_index(tmp_path).read_text(encoding="utf-8") == text


def test_a_readme_of_somebody_else_stays(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# My project\n")
    write_page(PAGE, tmp_path, figures=False)
    path = write_index(tmp_path)
    assert path.name == "INDEX.md"
    assert (tmp_path / "README.md").read_text() == "# My project\n"
    assert "README.md" not in path.read_text()
    text = path.read_text()
    assert write_index(tmp_path).read_text() == text  # it does not list itself


HOSTILE = "<script>alert(1)</script> | a\nb\r\n# c\u2028</table><!-- `"


def test_text_from_files_and_plugins_makes_no_markup() -> None:
    frame = pd.DataFrame({"projector": [HOSTILE], "n": ["1 < 2"]})
    page = Page("page-of-a-test", HOSTILE, HOSTILE, {"first": frame}, notices=[HOSTILE])
    lines = markdown(page).splitlines()
    assert not any(re.search("<[a-z/!?]", line) for line in lines)
    assert [line[0] for line in lines if line] == ["#", "*", ">", "|", "|", "|"]
    assert len(re.split(r"(?<!\\)\|", lines[-1])) == 4
    assert "1 < 2" in lines[-1]


def test_every_template_compiles() -> None:
    pages, front_page = render._environment(), index_html._environment()
    names = [name for name in pages.list_templates() if name.endswith(".j2")]
    assert len(names) > 10
    for name in names:
        (front_page if name.endswith("html.j2") else pages).get_template(name)
