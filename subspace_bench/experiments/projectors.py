"""The page of a timing table: which projector to take, figures, every measured case.

A page depends only on its csv and on the accuracy records, so any machine can rebuild it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from subspace_bench import projectors
from subspace_bench.common.errors import UserError
from subspace_bench.common.formatting import format_bytes, format_significant
from subspace_bench.experiments import projectors_predicted
from subspace_bench.experiments.projector_accuracy import accuracies
from subspace_bench.experiments.projectors_at_sizes import (
    case_name,
    compare_at_sizes,
    older_cases,
    show_graphs,
)
from subspace_bench.experiments.study import Evidence, Plan
from subspace_bench.profiling import recommendation
from subspace_bench.profiling.cases import DIMS, LAYERED_MODELS, NATIVE, grid
from subspace_bench.profiling.derived import Row, successful, with_derived
from subspace_bench.profiling.distortion import COLUMNS, DRAWS
from subspace_bench.profiling.recommendation import (
    SMALLEST_PEAK,
    Accuracies,
    Recommendation,
    format_peak,
)
from subspace_bench.profiling.table import read_frame
from subspace_bench.profiling.timing import READ_FROM_BYTES
from subspace_bench.records.committed import committed_store
from subspace_bench.reporting.figures import PageFigure
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.render import write_page

# Fraction of a GPU's read bandwidth, or of its copies for transforms, that products are to reach.
TARGETS = {"dense": 0.85, "Hadamard transforms, each pass": 0.80, "hashed": 0.70}
NONE = pd.DataFrame()  # no table
LARGE_DIM = 100  # from which on the summary says which projector always wins
MARKERS, COLOURS = "osD^vP*Xdhp<>", plt.get_cmap("tab10")  # one per projector


def write_page_of(table: Path, missing: int = 0) -> list[Path]:
    """Writes the page of a timing csv beside it; returns the paths. For `missing` see `page`."""
    evidence = Evidence(Plan("full"), committed_store(), None)
    content = page(table.stem, read_frame(table), accuracies(evidence), missing)
    return write_page(content, table.parent)


def rebuild_pages(device: str, out: Path) -> list[Path]:
    """Writes a page for every csv of a device in `out`; without any, a page that says so."""
    tables = sorted(out.glob(f"projectors-{device}*.csv"))
    if not tables:
        return write_page(not_measured(device), out)
    return [path for table in tables for path in write_page_of(table)]


def page(name: str, frame: pd.DataFrame, samples: Accuracies, missing: int = 0) -> Page:
    """The page of one timing table.

    Arguments:
        name: stem of the csv and of the page.
        frame: the table; all rows of one machine, at least one.
        samples: accuracies of the projectors, for the recommendation.
        missing: requested cases that are not measured yet.
    """
    measurements = with_derived(frame)
    measured = successful(measurements)
    accuracy = recommendation.AccuracyComparison.of(samples)
    recommendations = recommendation.recommend(measured, accuracy)
    device, facts, older = str(frame.device.iloc[0]), frame.iloc[0], older_cases(frame)
    sections = {f"native_{native}": native for native in sorted(set(frame.native))}
    tables = {
        "recommendation": recommendation.recommendation_table(recommendations, accuracy),
        "accuracy": recommendation.accuracy_table(accuracy),
        "times": compare_at_sizes(measurements, lambda row: format_significant(row["ms"]), older),
        "graphs": compare_at_sizes(measurements, show_graphs, older) if device == "cuda" else NONE,
        "memory": compare_at_sizes(measurements, lambda row: format_peak(row["peak_bytes"])),
        "machine": machine_table(frame, missing),
        **{key: details(measurements, native) for key, native in sections.items()},
    }
    return Page(
        name=name,
        title=f"What projectors cost on {facts.gpu or facts.cpu}",
        summary=summarize(recommendations, older),
        tables={key: table for key, table in tables.items() if not table.empty},
        values={
            "sections": [(key, n, NATIVE.get(n, "")) for key, n in sections.items()],
            "copies": recommendation.MAX_THETA_COPIES,
            "small": format_bytes(recommendation.ALWAYS_ALLOWED_BYTES),
            "moved": f"{recommendation.MIN_NONZERO_ROWS:.0%}",
            "draws": DRAWS,
            "columns": COLUMNS,
            "read_from": format_bytes(READ_FROM_BYTES),
            "layered": LAYERED_MODELS,
            "device": device,
            "older": older,
        },
        figures=figures(name, measured),
        command=f"subspace-bench compare --device {device} --rebuild",
        template="projectors",
    )


def not_measured(device: str) -> Page:
    """The page of a GPU without timings: predictions only."""
    return Page(
        name=f"projectors-{device}",
        title=f"What projectors cost on {device.upper()}",
        summary="Not measured yet",
        tables=projectors_predicted.tables(),
        values={
            "gpu": projectors_predicted.GPU,
            "gbs": projectors_predicted.GPU_GBS,
            "memory": projectors_predicted.GPU_BYTES / 1e9,
            "targets": TARGETS,
        },
        command=f"subspace-bench compare --device {device} --rebuild",
        template="projectors-not-measured",
    )


def summarize(recommendations: list[Recommendation], older: Sequence[str]) -> str:
    """Which projector is recommended most often, from which D on, and what it takes there."""
    best = {
        (each.native, each.dim): each.candidates[0] for each in recommendations if each.candidates
    }
    if not best:
        return f"No projector meets the rule at any of {len(recommendations)} sizes."
    [(name, count)] = Counter(row["projector"] for row in best.values()).most_common(1)
    parts = [f"`{name}` is the one to take at {count} of {len(recommendations)} sizes (D, d)"]
    others = [native for (native, dim), row in best.items()
              if dim >= LARGE_DIM and row["projector"] != name]  # fmt: skip
    large = {at: row for at, row in best.items()
             if at[0] > max(others, default=0) and at[1] >= LARGE_DIM
             and case_name(row) not in older}  # fmt: skip
    if large:
        (native, dim), row = max(large.items())
        parts.append(
            f"always from D = {min(large)[0]:,} and d = {min(d for _, d in large):,} on: "
            f"{format_significant(row['ms'])} ms forward and transpose at {native:,} × {dim:,}"
        )
    return ", ".join(parts) + "; elsewhere see the table"


def machine_table(frame: pd.DataFrame, missing: int) -> pd.DataFrame:
    """What was measured, on what, and at which revisions of the package."""
    facts, speeds = frame.iloc[0], sorted(set(frame.read_gbs))
    processor = facts.gpu or f"{facts.cpu} ({facts.cpu_capability})"
    whole = len(grid(list(projectors.registry.BUILT_IN), list(NATIVE), DIMS, "cpu", "float32"))
    revisions = frame.revision[frame.revision != ""].value_counts()
    rows = {
        "device": f"{processor}, {facts.threads} threads",
        "versions": f"torch {facts.torch}, numba {facts.numba}",
        "memory is read at": " to ".join(f"{s:.1f}" for s in dict.fromkeys((speeds[0], speeds[-1])))
        + " GB/s",
        "cases": f"{len(frame)} (a whole comparison has {whole}), "
        f"of which {(frame.status == 'ok').sum()} measured",
        "cases still to be measured": f"{missing}",
        "revision": ", ".join(f"{name} ({count} cases)" for name, count in revisions.items()),
    }
    if older := older_cases(frame):
        rows["measured before the projector's code changed"] = ", ".join(older)
    return pd.DataFrame(rows.items(), columns=["", "value"])


def details(measurements: pd.DataFrame, native: int) -> pd.DataFrame:
    """Every case of one D."""
    rows = measurements[measurements.native == native].to_dict("records")
    return pd.DataFrame([detail(row) for row in rows])


def detail(row: Row) -> dict[str, str]:
    """One case as the page shows it."""
    name = row["projector"] + (f" ({row['dtype']})" if row["dtype"] != "float32" else "")
    labels = {"d": f"{row['dim']:,}", "projector": name}
    columns = ("columns", "stored", "peak, θ", "set-up, s", "forward, ms", "transpose, ms", "GB/s",
               "of read", "projections/s", "‖Pω‖/‖ω‖", "coherence")  # fmt: skip
    if row["status"] != "ok":
        return {**labels, "columns": row["status"], **dict.fromkeys(columns[1:], "")}
    hot = "*" if row["moved_bytes"] / 2 <= row["cache_bytes"] else ""
    values = (
        column_norms(row),
        format_bytes(row["resident_bytes"]),
        f"{row['peak_thetas']:,.1f}",
        format_significant(row["setup_s"]),
        median_and_quartiles(row, "forward"),
        median_and_quartiles(row, "transpose"),
        f"{row['gbs']:.3g}{hot}",
        f"{row['gbs'] / row['read_limit']:.0%}" + hot * (row["read_limit"] == row["read_gbs"]),
        f"{1e3 / row['forward_ms']:,.3g}",
        *distortion(row),
    )
    return {**labels, **dict(zip(columns, values, strict=True))}


def column_norms(row: Row) -> str:
    try:
        return projectors.column_norms(row["projector"], row["native"], row["dim"])
    except UserError:  # a plug-in's projector that is no longer installed
        return ""


def median_and_quartiles(row: Row, product: str) -> str:
    median, low, high = (
        format_significant(row[f"{product}_{key}"]) for key in ("ms", "q25", "q75")
    )
    return f"{median} ({low}–{high})"


def distortion(row: Row) -> tuple[str, str]:
    """Norm distortion and coherence; also the number of samples if it is below the usual one."""
    if pd.isna(row.get("norm_mean")):
        return "" if pd.isna(row.get("lost")) else f"failed: {row['lost']}", ""
    norms, pairs, dim = int(row["norm_n"]), int(row["pairs"]), row["dim"]
    ratio = f"{row['norm_mean']:.3f} ± {row['norm_sd']:.2g}" + f" ({norms} ω)" * (norms < DRAWS)
    if not pairs:
        return ratio, ""
    few = pairs < min(COLUMNS**2, dim * (dim - 1) // 2)
    return ratio, f"{row['coherence']:.2g}" + f" ({pairs:,} pairs)" * few


def figures(name: str, frame: pd.DataFrame) -> dict[str, PageFigure]:
    """Time and memory over D; none until some d is measured at two D."""
    dims = [d for d in sorted(set(frame.dim)) if frame[frame.dim == d].native.nunique() > 1]
    if not dims:
        return {}
    return {
        f"{name}-time": PageFigure(
            lambda: plot_over_native(frame, dims, frame.ms, "forward + transpose, ms"),
            "Time of forward plus transpose against D, one panel per d",
        ),
        f"{name}-memory": PageFigure(
            lambda: plot_over_native(
                frame, dims, frame.peak_bytes.clip(lower=SMALLEST_PEAK), "bytes (at least 2 MB)"
            ),
            "Memory of P and its workspace against D, one panel per d",
        ),
    }


def plot_over_native(
    frame: pd.DataFrame, dims: list[int], values: pd.Series[float], label: str
) -> Figure:
    """Values over D, one line per projector, one panel per d."""
    columns = -(-len(dims) // 2)
    figure, grid = plt.subplots(
        2, columns, figsize=(1.7 + 2.6 * columns, 6.0), sharex=True, sharey=True, squeeze=False
    )
    all_axes = grid.flatten()
    for unused in all_axes[len(dims) :]:
        unused.set_visible(False)
    handles: dict[str, Any] = {}
    for axes, dim in zip(all_axes, dims, strict=False):
        for i, name in enumerate(dict.fromkeys(frame.projector)):
            rows = frame[(frame.dim == dim) & (frame.projector == name)].sort_values("native")
            [handles[name]] = axes.plot(
                rows.native, values[rows.index], marker=MARKERS[i % len(MARKERS)],
                color=COLOURS(i % 10), ls="-" if i < 10 else "--", ms=4, label=name,
            )  # fmt: skip
        axes.set(title=f"d = {dim:,}", xscale="log", yscale="log", xlabel="D")
    for axes in grid[:, 0]:
        axes.set_ylabel(label)
    figure.legend(handles.values(), handles.keys(), loc="outside right upper", fontsize=8)
    return figure
