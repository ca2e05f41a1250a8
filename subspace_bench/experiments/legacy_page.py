"""A page, ready to be written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Page:
    """One table of the suite, ready to be written.

    Attributes:
        opening: paragraphs above the table.
        frame: what the page and the terminal show, all strings.
        data: the same in numbers, for the csv.
        notes: paragraphs under the table.
        verdict: one line, under the title and in the index.
        figures: name → function that draws it.
    """

    title: str
    opening: list[str]
    frame: pd.DataFrame
    data: pd.DataFrame
    notes: list[str]
    verdict: str
    figures: dict[str, Callable[[], Figure]] = field(default_factory=dict)
