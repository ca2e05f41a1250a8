"""The index of all pages in a folder, with a link and the summary of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from subspace_bench.reporting.page import Page
from subspace_bench.reporting.render import read_summary, read_title, write_page

NAME = "README"


def write_index(
    out: Path,
    first: Iterable[str] = (),
    values: Mapping[str, Any] | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
) -> Path:
    """Writes `README.md`, the index of the pages in the same folder.

    Arguments:
        first: names of pages to list first, in this order; the others follow by name.
        values, tables: what the pages together found, for the template; by default only the pages
            are listed.
    """
    names = [path.stem for path in sorted(out.glob("*.md")) if path.stem != NAME]
    order = {name: position for position, name in enumerate(first)}
    names.sort(key=lambda name: order.get(name, len(order)))
    texts = {name: (out / f"{name}.md").read_text(encoding="utf-8") for name in names}
    frame = pd.DataFrame(
        [{"page": f"[{read_title(text)}]({name}.md)", "finding": read_summary(text)}
         for name, text in texts.items()],
        columns=["page", "finding"],
    )  # fmt: skip
    summary = f"{len(names)} pages, one finding each"
    page = Page(NAME, "Results", summary, {"pages": frame, **(tables or {})}, values=values or {})
    return write_page(page, out)[0]
