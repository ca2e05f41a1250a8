"""Formats durations, bytes and tables for a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

WIDTH = 140  # columns of output to a file


def make_console() -> Console:
    """The console of commands; it prints text literally, without markup.

    It is interactive only in a terminal that can move its cursor: FORCE_COLOR alone colours a log
    file, but does not fill it with progress bars.
    """
    from rich.console import Console  # imported here, as in `print_table`, because it takes 20 ms

    terminal = sys.stdout.isatty()
    return Console(
        markup=False,
        highlight=False,
        soft_wrap=True,
        width=None if terminal else WIDTH,
        force_interactive=None if terminal else False,
    )


def format_duration(seconds: float) -> str:
    """ "40 s", "12 min", "3 h 05 min"."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def format_bytes(count: float) -> str:
    """Bytes in a suitable unit: "12 kB", "340 MB", "2.1 GB"; "0" for none."""
    if not count:
        return "0"
    if count < 1e6:
        return f"{max(1, round(count / 1e3))} kB"
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def format_significant(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def print_table(console: Console, title: str, frame: pd.DataFrame) -> None:
    """Prints a table of strings."""
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for name in frame.columns:
        table.add_column(str(name))
    for row in frame.itertuples(index=False):
        table.add_row(*(str(value) for value in row))
    console.print(table)
