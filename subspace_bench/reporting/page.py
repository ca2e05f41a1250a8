"""A page of results: its summary, tables, figures and numbers, and its template.

A study makes pages; `render` writes them. The text of the page `name` is in
`templates/<name>.md.j2`, so code has no paragraphs. A new page is a module of `experiments/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from subspace_bench.reporting.figures import PageFigure


@dataclass(frozen=True)
class Page:
    """A page, ready to be rendered.

    Attributes:
        name: stem of its files, `results/<name>.md` and `.csv`, and of its template. Without a
            template, the page shows its tables and figures in order.
        title: its heading.
        summary: its finding, in one line with numbers; also shown in the index of all pages.
        tables: name → frame of strings. The first is also what the terminal shows.
        data: the numbers behind the tables, written as csv; None for no csv.
        values: what else the template refers to: numbers and short phrases, no sentences.
        figures: stem of the figure's files → figure.
        records: name of a table → for each of its rows, the names of the records behind it.
        notices: what sets this page apart from a full run, in one line each.
        command: the shell command that writes this page again.
        template: stem of the template, if several pages share one. Default: the name.
    """

    name: str
    title: str
    summary: str
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    data: pd.DataFrame | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, PageFigure] = field(default_factory=dict)
    records: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    notices: Sequence[str] = ()
    command: str = ""
    template: str = ""
