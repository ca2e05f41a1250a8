"""All pages as one HTML file that needs no network: their text and tables, charts and records.

The text and the tables are those of the markdown pages, so both show the same numbers. Charts are
drawn in the browser by Vega, whose code comes from the package vl-convert-python.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markdown_it import MarkdownIt
from markdown_it.token import Token

from subspace_bench.common.files import write_atomically
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.render import (
    escape_tags,
    markdown,
    markdown_table,
    one_line,
    read_summary,
    read_title,
)

NAME = "index.html"
SCRIPTS = ("tables.js", "charts.js", "index.js")  # one module, in this order
LINKED = {  # pages that the first screen links, by the names of its links
    "claims": "Claims",
    "intrinsic-dimension": "Intrinsic dimensions",
    "learning-rates": "Learning rates",
    "peers": "Other packages",
    "regression": "Accuracy check",
    "reliability": "Reliability",
}
HEADINGS = 2  # levels above a page's title: the document's and "All pages"
FIGURE = re.compile(r"^!\[(.*)\]\((.*)\)\n\n\*\1\*$", re.MULTILINE)
PAGE_LINK = re.compile(r"^(?:README\.md)?#?([\w-]+)(?:\.md)?(?:#.*)?$")
Records = Sequence[Sequence[str]]  # for each row of a table, names of records


@dataclass(frozen=True)
class Section:
    """A page in the HTML file.

    Attributes:
        text: the page as markdown.
        records: for each table in the text, in order, the records behind its rows.
    """

    name: str
    text: str
    records: Sequence[Records] = field(default_factory=list)

    @classmethod
    def of(cls, page: Page) -> Section:
        """The section of a page."""
        text = markdown(page)
        tables = {name: escape_tags(markdown_table(frame)) for name, frame in page.tables.items()}
        shown = sorted((text.find(table), name) for name, table in tables.items())
        names = [name for position, name in shown if position >= 0]
        return cls(page.name, text, [page.records.get(name, ()) for name in names])

    @property
    def title(self) -> str:
        return read_title(self.text) or self.name

    @property
    def summary(self) -> str:
        return read_summary(self.text)


def write_html(
    sections: Sequence[Section], values: Mapping[str, Any], data: Mapping[str, Any], out: Path
) -> Path:
    """Writes `index.html`; see `page_html`.

    Raises:
        ModuleNotFoundError: without the package vl-convert-python.
        Unwritable: (a UserError) where `out` cannot be written.
    """
    import vl_convert

    vega = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    path = out / NAME
    write_atomically(path, page_html(sections, values, data, vega))
    return path


def page_html(
    sections: Sequence[Section], values: Mapping[str, Any], data: Mapping[str, Any], vega: str
) -> str:
    """All pages as one HTML file; equal input gives equal text.

    Arguments:
        values: what the template `index.html.j2` shows above the pages.
        data: what `charts.js` draws; `data["records"]` holds lists that start with a record's name.
        vega: JavaScript that sets `window.vegaEmbed`.

    Raises:
        ValueError: if the data hold NaN or infinity.
    """
    number = {record[0]: i for i, record in enumerate(data["records"])}
    names = {section.name for section in sections}
    text = (
        _environment()
        .get_template("index.html.j2")
        .render(
            **values,
            linked=LINKED,
            sections=[(section, body(section, names, number)) for section in sections],
            style=asset("index.css"),
            script="\n".join(map(asset, SCRIPTS)),
            vega=vega.replace("</script", r"<\/script"),
            data=to_json(data),
        )
    )
    return text.strip() + "\n"


def body(section: Section, names: set[str], number: Mapping[str, int]) -> str:
    """The text of a page below its title and summary, as HTML.

    A row with records has their numbers in `data-records`. Figures become links to their files.

    Arguments:
        names: of the pages in the same file, whose links lead there.
        number: name of a record → its number in the data.
    """
    parser = _parser()
    text = FIGURE.sub(r"Figure: [\1](\2)", section.text)
    tokens = list(_without_head(parser.parse(text), bool(section.summary)))
    table, row = -1, -1
    for token in tokens:
        token.attrs.pop("style", None)
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + HEADINGS, 6)}"
        elif token.type == "table_open":
            table, row = table + 1, -2  # the first row is the head
            token.attrSet("aria-label", f"{one_line(section.title)}, table {table + 1}")
        elif token.type == "th_open":
            token.attrSet("scope", "col")
        elif token.type == "tr_open":
            row += 1
            records = section.records[table] if table < len(section.records) else ()
            if 0 <= row < len(records) and records[row]:
                found = [str(number[name]) for name in records[row] if name in number]
                token.attrSet("data-records", " ".join(found))
        for child in token.children or ():
            if child.type == "link_open":
                child.attrSet("href", link(str(child.attrGet("href") or ""), names))
    html: str = parser.renderer.render(tokens, parser.options, {})
    return html


def link(target: str, names: set[str]) -> str:
    """The target of a link, inside the file if it leads to one of its pages."""
    found = PAGE_LINK.match(target)
    if found and (found[1] in names or found[1] == "how-to-read-a-page"):
        return f"#{found[1]}"
    return target


def to_json(data: Mapping[str, Any]) -> str:
    """JSON that may stand in a script element: no `<` in it starts or ends a tag or comment.

    Raises:
        ValueError: for NaN and infinity.
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c")


def asset(name: str) -> str:
    """The text of a file in `templates/`."""
    return (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")


def _without_head(tokens: Sequence[Token], has_summary: bool) -> Iterator[Token]:
    """The tokens after the title, a heading of three tokens, and the summary, also three."""
    start = 0
    if tokens and tokens[0].type == "heading_open":
        start = 6 if has_summary else 3
    yield from tokens[start:]


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "templates"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inline"] = _parser().renderInline
    return environment
