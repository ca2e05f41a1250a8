"""How figures of pages look, and their files: equal figures give equal bytes.

A page's own module draws its figures and has their captions.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from subspace_bench.common.files import write_atomically

mpl.use("Agg")

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "subspace-bench",  # fixed identifiers
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
FORMATS: dict[str, dict[str, None]] = {"svg": {"Date": None}, "png": {"Software": None}}


@dataclass(frozen=True)
class PageFigure:
    """A figure of a page.

    Attributes:
        draw: returns the matplotlib figure; called when the page is written.
        caption: one line, shown under the figure and read by screen readers.
    """

    draw: Callable[[], Figure]
    caption: str


def write_figure(name: str, draw: Callable[[], Figure], out: Path) -> list[Path]:
    """Draws a figure and writes `figures/<name>.svg` and `.png`; returns the paths."""
    written = []
    with mpl.rc_context(STYLE):
        figure = draw()
        for kind, metadata in FORMATS.items():
            file = io.BytesIO()
            figure.savefig(file, format=kind, dpi=150, metadata=metadata)
            written.append(out / "figures" / f"{name}.{kind}")
            write_atomically(written[-1], file.getvalue())
        plt.close(figure)
    return written
