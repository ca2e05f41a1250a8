"""Pages → markdown, csv and figures. Equal pages give equal bytes.

A template extends `_layout.md.j2` and fills its block `body`. It sees `page`, every entry of
`page.values` by name, `tables.<name>` and `figures.<name>` as markdown.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from subspace_bench.common.files import write_atomically
from subspace_bench.reporting.figures import write_figure
from subspace_bench.reporting.page import Page

LINE_BREAK = re.compile(r"\s*[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]\s*")  # as str.splitlines
TAG = re.compile("<(?=[A-Za-z/!?])")


def write_page(page: Page, out: Path, figures: bool = True) -> list[Path]:
    """Writes `<name>.md`, `<name>.csv` and `figures/*.svg` and `.png` into `out`.

    Arguments:
        figures: whether to draw figures; if False, existing files stay.

    Returns:
        The paths written, the markdown first.

    Raises:
        Unwritable: (a UserError) where `out` cannot be written.
    """
    written = [out / f"{page.name}.md"]
    write_atomically(written[0], markdown(page))
    if page.data is not None:
        written.append(out / f"{page.name}.csv")
        write_atomically(written[1], page.data.to_csv(index=False, lineterminator="\n"))
    for name, figure in page.figures.items() if figures else ():
        written += write_figure(name, figure.draw, out)
    return written


def markdown(page: Page) -> str:
    """The page as markdown, ending in one newline."""
    tables = {name: markdown_table(frame) for name, frame in page.tables.items()}
    figures = {
        name: f"![{figure.caption}](figures/{name}.svg)\n\n*{figure.caption}*"
        for name, figure in page.figures.items()
    }
    template = _environment().select_template(
        [f"{page.template or page.name}.md.j2", "_default.md.j2"]
    )
    page = replace(
        page,
        title=one_line(page.title),
        summary=one_line(page.summary),
        notices=[one_line(notice) for notice in page.notices],
    )
    context = {**page.values, "page": page, "tables": tables, "figures": figures}
    return template.render(context).strip() + "\n"


def read_title(text: str) -> str:
    """The title of a rendered page."""
    return text.split("\n", 1)[0].removeprefix("# ")


def read_summary(text: str) -> str:
    """The summary of a rendered page: the bold line under its title; "" if there is none."""
    line = next((line for line in text.splitlines()[1:] if line), "")
    bold = line.startswith("**") and line.endswith("**")
    return line.removeprefix("**").removesuffix("**") if bold else ""


def markdown_table(frame: pd.DataFrame) -> str:
    """A GitHub markdown table of a frame of strings, each cell in one line and `|` escaped."""
    text = frame.map(lambda cell: one_line(cell).replace("|", r"\|") if type(cell) is str else cell)
    return text.to_markdown(index=False, disable_numparse=True)


def one_line(text: str) -> str:
    """The text with every line break as a space."""
    return LINE_BREAK.sub(" ", text)


def escape_tags(value: Any) -> Any:
    """Text in which `<` starts no HTML tag; other values as they are.

    Text on pages may come from files and plug-ins, such as the name of a projector.
    """
    return TAG.sub("&lt;", value) if isinstance(value, str) else value


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "templates"),
        undefined=jinja2.StrictUndefined,  # a missing value is an error, not a blank
        autoescape=False,  # noqa: S701 (markdown: `finalize` leaves no tag of HTML)
        finalize=escape_tags,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["thousands"] = lambda number: f"{number:,}"
    environment.filters["dataset"] = lambda name: name.replace("mnist", "MNIST")
    return environment
