"""Tables with a row for each size (D, d) and a column for each projector."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pandas as pd

from subspace_bench.common.formatting import format_significant
from subspace_bench.profiling.derived import Row

# By the status of a case, up to its colon.
REASONS = {"does not fit": "too large", "not measured": "too slow", "failed": "failed"}


def older_cases(frame: pd.DataFrame) -> list[str]:
    """The measured cases whose projector had other code when its smallest case was measured.

    A projector whose code changed is measured again from its smallest case on.
    """
    if "sources" not in frame:
        return []
    measured = frame[frame.status == "ok"].sort_values(["native", "dim"], kind="stable")
    newest = measured.groupby("projector")["sources"].transform("first")
    return [case_name(row) for row in measured[measured.sources != newest].to_dict("records")]


def case_name(row: Row) -> str:
    return f"{row['projector']} {row['native']:,} × {row['dim']:,}"


def show_graphs(row: Row) -> str:
    """Milliseconds of forward and transpose in CUDA graphs; blank if they were not recorded."""
    both = [row.get(f"{part}_graph_ms", math.nan) for part in ("forward", "transpose")]
    return "" if pd.isna(both).any() else format_significant(sum(both))


def compare_at_sizes(
    measurements: pd.DataFrame, show: Callable[[Row], str], older: Sequence[str] = ()
) -> pd.DataFrame:
    """One row per (D, d), one column per projector; float32 only. `older` cases are marked."""
    names = measurements.projector.unique()
    lines: dict[tuple[int, int], dict[str, str]] = {}
    for row in measurements.to_dict("records"):
        size = {"D": f"{row['native']:,}", "d": f"{row['dim']:,}"}
        line = lines.setdefault((row["native"], row["dim"]), size | dict.fromkeys(names, ""))
        if row["dtype"] == "float32":
            kind = row["status"].partition(":")[0]
            shown = show(row) if kind == "ok" else REASONS[kind]
            line[row["projector"]] = shown + "*" * (case_name(row) in older and bool(shown))
    return pd.DataFrame(lines.values())
