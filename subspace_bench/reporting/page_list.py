"""The index of all pages in a folder, with a link and the summary of each."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from subspace_bench.reporting.page import Page
from subspace_bench.reporting.render import read_summary, read_title, write_page

NAME, SECOND_NAME, TITLE = "README", "INDEX", "Results"
BRACKETS = re.compile(r"[\[\]\\]")
READ_BYTES = 1 << 16  # of each page; its title and summary stand at the start


def write_index(
    out: Path,
    first: Iterable[str] = (),
    values: Mapping[str, Any] | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
) -> Path:
    """Writes `README.md`, the index of the pages in the same folder.

    Other markdown files in the folder are listed too; what is empty or unreadable is left out. If
    `README.md` itself is not an index, it stays, and the index is `INDEX.md`.

    Arguments:
        first: names of pages to list first, in this order; the others follow by name.
        values, tables: what the pages together found, for the template; by default only the pages
            are listed.
    """
    texts = {path.stem: text for path in sorted(out.glob("*.md")) if (text := read_start(path))}
    name = NAME if read_title(texts.get(NAME, f"# {TITLE}")) == TITLE else SECOND_NAME
    order = {name: position for position, name in enumerate(first)}
    names = sorted(
        texts.keys() - {NAME, SECOND_NAME}, key=lambda name: (order.get(name, len(order)), name)
    )
    frame = pd.DataFrame(
        [{"page": link(name, texts[name]), "finding": read_summary(texts[name])} for name in names],
        columns=["page", "finding"],
    )
    summary = f"{len(names)} pages, one finding each"
    shown = {"pages": frame, **(tables or {})}
    page = Page(name, TITLE, summary, shown, values=values or {}, template=NAME)
    return write_page(page, out)[0]


def link(name: str, text: str) -> str:
    """A link to a page under its title."""
    title = BRACKETS.sub(r"\\\g<0>", read_title(text) or name)
    return f"[{title}]({quote(name)}.md)"


def read_start(path: Path, most: int = READ_BYTES) -> str:
    """The start of a text file in any encoding; "" if it is no file, is empty or unreadable."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would block
            return ""
        with path.open("rb") as file:
            return file.read(most).decode("utf-8", errors="replace")
    except OSError:
        return ""
