"""The cells of `compare` as a page: advice, pictures, a table for each D."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from subspace_bench.common.files import write_atomically
from subspace_bench.common.formatting import format_bytes, format_significant
from subspace_bench.experiments import projectors_advice
from subspace_bench.experiments.projector_accuracy import by_projector
from subspace_bench.profiling.cases import NATIVE, Cells
from subspace_bench.profiling.distortion import COLUMNS, DRAWS
from subspace_bench.profiling.lookup import Accuracies, Measured, moved_bytes, read_speed
from subspace_bench.profiling.timing import NETS, READ, itemsize
from subspace_bench.projectors.fastfood import STORED
from subspace_bench.reporting.figures import write_figure
from subspace_bench.reporting.render import markdown_table

MARKERS, COLOURS = "osD^vP*Xdhp<>", plt.get_cmap("tab20")  # of projectors, in figures


def write(cells: Cells, accuracies: Accuracies, out: Path, lacking: int) -> list[Path]:
    """Writes the page beside the csv, which is there already, and its figures.

    Arguments:
        lacking: cells that were asked for and not come to yet.
    """
    name = cells.path.stem
    frame = cells.frame()
    good = frame[(frame.status == "ok") & (frame.dtype == "float32")]
    figures: dict[str, tuple[Callable[[], Figure], str]] = {}
    if panels(good):
        figures |= {
            f"{name}-time": (
                lambda: over_native(good, "time"),
                "Time of forward and transpose over D",
            ),
            f"{name}-memory": (
                lambda: over_native(good, "memory"),
                "Bytes that forward and transpose take over D",
            ),
        }
    if any(sample.n for sample in accuracies.values()):
        figures["projectors-accuracy"] = (
            lambda: by_projector(accuracies), "Accuracy of each projector on the post's conv net",
        )  # fmt: skip
    parts = [f"# Projectors on {cells.machine['gpu'] or cells.machine['cpu']}", about(cells, frame)]
    if lacking:
        parts.append(f"**{lacking} cells are still to be measured**: the same command goes on.")
    measured = Measured(good, accuracies)
    said = projectors_advice.lines(measured)
    parts += ["## What to take", ADVICE if said else NO_ADVICE]
    parts += ["\n".join(f"{i}. {line}" for i, line in enumerate(said, 1))]
    parts += ["## The fastest at each size", fastest(measured)] if said else []
    parts += [f"![{text}](figures/{figure}.svg)" for figure, (_, text) in figures.items()]
    for native in sorted(set(frame.native)):
        named = f" ({NATIVE[native]})" if native in NATIVE else ""
        parts += [f"## D = {native:,}{named}", shown(frame[frame.native == native])]
    parts += [HOW_TO_READ, f"All numbers: [{name}.csv]({name}.csv)."]
    write_atomically(out / f"{name}.md", "\n\n".join(part for part in parts if part) + "\n")
    drawn = [path for k, (draw, _) in figures.items() for path in write_figure(k, draw, out)]
    return [out / f"{name}.md", *drawn]


def about(cells: Cells, frame: pd.DataFrame) -> str:
    """What was measured, on what, at which revisions, and how to do it again."""
    facts = cells.machine
    read = sorted(set(frame.read_gbs))
    speeds = f"{read[0]:,.1f}" + (f" to {read[-1]:,.1f}" if len(read) > 1 else "")
    return (
        f"{facts['gpu'] or facts['cpu']} ({facts['cpu_capability']}), {cells.threads} threads, "
        f"torch {facts['torch']}, numba {facts['numba']}. This machine reads memory at {speeds} "
        f"GB/s, measured in each session. {revisions(frame)}"
        f"Measured by `subspace-bench compare --device {cells.device}`."
    )


def revisions(frame: pd.DataFrame) -> str:
    """Which revisions of the package the cells were measured at."""
    counts = frame.revision[frame.revision != ""].value_counts()
    if counts.empty:
        return ""
    if len(counts) == 1:
        return f"All cells are of revision {counts.index[0]}. "
    each = ", ".join(f"{name} ({count} cells)" for name, count in counts.items())
    return f"**Cells of several revisions stand here**: {each}; the csv says which. "


def fastest(measured: Measured) -> str:
    """The three that take the least for forward and transpose, at each (D, d)."""
    rows = []
    for native, dim in measured.sizes():
        found = measured.ranked((native, dim))[:3]
        cells = [
            f"{r['projector']}: {format_significant(r['ms'])} ms, {format_bytes(r['peak_bytes'])}"
            for r in found
        ]
        cells += [""] * (3 - len(cells))
        labels = {"D": f"{native:,}", "d": f"{dim:,}"}
        rows.append(labels | dict(zip(("first", "second", "third"), cells, strict=True)))
    text = markdown_table(pd.DataFrame(rows))
    return f"{text}\n\nWhere d is below √D, `sparse` moves only a part of θ."


def shown(rows: pd.DataFrame) -> str:
    """The cells of one D to read."""
    return markdown_table(pd.DataFrame([shown_cell(dict(row)) for _, row in rows.iterrows()]))


def shown_cell(row: dict[str, Any]) -> dict[str, str]:
    name = str(row["projector"])
    if row["dtype"] != "float32":
        name += f" ({row['dtype']})"
    labels = {"d": f"{int(row['dim']):,}", "projector": name}
    columns = ("columns", "held", "peak, θ", "set-up, s", "forward, ms", "transpose, ms", "GB/s",
               "of read", "projections/s", "‖Pω‖/‖ω‖", "coherence")  # fmt: skip
    if row["status"] != "ok":
        return {**labels, "columns": str(row["status"]), **dict.fromkeys(columns[1:], "")}
    theta, moved, bound = theta_bytes(row), moved_bytes(row), read_speed(row)
    speed = moved / (row["forward_ms"] + row["transpose_ms"]) / 1e6
    hot = "*" if moved / 2 <= row["cache_bytes"] else ""
    values = (
        projectors_advice.promised(str(row["projector"]), (int(row["native"]), int(row["dim"]))),
        format_bytes(row["resident_bytes"]),
        f"{row['peak_bytes'] / theta:,.1f}",
        format_significant(row["setup_s"]),
        spread(row, "forward"),
        spread(row, "transpose"),
        f"{speed:.3g}{hot}",
        f"{speed / bound:.0%}" + hot * (bound == row["read_gbs"]),
        f"{1e3 / row['forward_ms']:,.3g}",
        *qualities(row),
    )
    return {**labels, **dict(zip(columns, values, strict=True))}


def theta_bytes(row: dict[str, Any]) -> int:
    return int(row["native"]) * itemsize(row["dtype"])


def spread(row: dict[str, Any], name: str) -> str:
    """Median (quartiles)."""
    middle, low, high = (row[f"{name}_{k}"] for k in ("ms", "q25", "q75"))
    return f"{format_significant(middle)} ({format_significant(low)}–{format_significant(high)})"


def qualities(row: dict[str, Any]) -> tuple[str, str]:
    """Distortion and coherence, with the number of samples where they are fewer than elsewhere."""
    if pd.isna(row.get("norm_mean")):
        return "" if pd.isna(row.get("lost")) else f"failed: {row['lost']}", ""
    norms, pairs = int(row["norm_n"]), int(row["pairs"])
    distortion = f"{row['norm_mean']:.3f} ± {row['norm_sd']:.2g}"
    distortion += f" ({norms} ω)" * (norms < DRAWS)
    if not pairs:
        return distortion, ""
    all_pairs = int(row["dim"]) * (int(row["dim"]) - 1) // 2
    few = pairs < min(COLUMNS**2, all_pairs)
    return distortion, f"{row['coherence']:.2g}" + f" ({pairs:,} pairs)" * few


def panels(cells: pd.DataFrame) -> list[int]:
    """The d that were measured at several D."""
    return [d for d in sorted(set(cells.dim)) if cells[cells.dim == d].native.nunique() > 1]


def over_native(cells: pd.DataFrame, what: str) -> Figure:
    """Time or bytes taken over D, one line a projector, one panel for each of `panels`."""
    dims = panels(cells)
    figure, all_axes = plt.subplots(
        1, len(dims), figsize=(1.5 + 3.0 * len(dims), 4.2), sharex=True, sharey=True, squeeze=False
    )
    for axes, dim in zip(all_axes[0], dims, strict=True):
        for i, name in enumerate(dict.fromkeys(cells.projector)):
            rows = cells[(cells.dim == dim) & (cells.projector == name)].sort_values("native")
            values = rows.peak_bytes.clip(lower=1000) if what == "memory" else (
                rows.forward_ms + rows.transpose_ms)  # fmt: skip
            marker = MARKERS[i % len(MARKERS)]
            axes.plot(rows.native, values, marker=marker, color=COLOURS(i % 20), ms=4, label=name)
        axes.set_title(f"d = {dim:,}")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("D")
    all_axes[0][0].set_ylabel(
        "bytes (1 kB or less: 1 kB)" if what == "memory" else "forward + transpose, ms"
    )
    handles: dict[str, Any] = {}
    for axes in all_axes[0]:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside right upper", fontsize=8)
    return figure


def write_not_measured(out: Path) -> Path | None:
    """A page for CUDA that says so, where no device was measured."""
    path = out / "projectors-cuda.md"
    if path.with_suffix(".csv").exists():
        return None
    write_atomically(path, NOT_MEASURED)
    return path


NOT_MEASURED = """\
# Projectors on CUDA

*Not measured*: no CUDA device has run this yet, and nothing is carried over from the CPU. On a
machine that has one, `nox -s gpu` runs the CUDA tests, measures all projectors and writes this
page.
"""
ADVICE = """\
Times are of forward and transpose together, bytes what both take beside ω and θ, P included.
Accuracies are in % of the post's conv net (D = 21,840), all that was trained, with 95% intervals;
how other nets fare at other D they do not say."""
NO_ADVICE = "Nothing yet: advice takes cells in float32 of the projectors that it compares."
HOW_TO_READ = f"""\
## How to read

*columns*: what P's columns are: orthonormal, of unit length, or of unit length in expectation.
*held*: bytes that the projector keeps. *peak, θ*: the most that applying it takes beside ω and θ,
what it holds included, in copies of θ; of the process, so that below some 2 MB chance decides.
*set-up*: making it, compilation apart. *forward*, *transpose*: Pω and Pᵀθ, median (quartiles).
*GB/s*: P as held, ω and θ, each read or written once a product (of θ `sparse` reads only the rows
that have entries), over the time of both; * where all of it fits the last-level cache, and so was
timed hot. *of read*: in parts of the speed at which torch merely reads (sums) what the projector
holds, timed in turn with the products, as a shared machine's memory changes its speed; where that
is less than {READ / 1e6:g} MB or half of what moves, in parts of memory's speed above. What
generates its entries is bound by arithmetic instead. *‖Pω‖/‖ω‖*: mean ± standard deviation over
{DRAWS} random ω. *coherence*: the largest |⟨p_i, p_j⟩|/(‖p_i‖ ‖p_j‖) between {COLUMNS} random
columns and {COLUMNS} others, or all where d is at most {COLUMNS}. Fewer samples, where d is small
or time is short, are stated.
*does not fit*: more than was free, of the bytes predicted for making and applying it. `fastfood`
holds its diagonals up to {STORED:,} rows; above, it makes them at every use.
A projector that goes by a model's layers (`fastfood-layers`) stands where D is that of a model of
this package: {", ".join(f"{n:,} ({net})" for n, net in NETS.items())}; elsewhere there are no
layers to give it."""
