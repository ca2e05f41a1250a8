"""The cells of `compare` as a page: advice, pictures, a table for each D."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from subspace_bench import projectors
from subspace_bench.compare import advice
from subspace_bench.compare.advice import Accuracies, Measured
from subspace_bench.compare.cells import NATIVE, Cells
from subspace_bench.errors import UserError
from subspace_bench.experiments.projector_accuracy import MARKERS, over_dim
from subspace_bench.report import table, write_figures
from subspace_bench.runs import write_atomically
from subspace_bench.terminal import size


def write(cells: Cells, accuracies: Accuracies, out: Path) -> list[Path]:
    """Writes `projectors-<device>.md` and its figures; the csv is there already."""
    name = f"projectors-{cells.device}"
    frame = cells.frame()
    good = frame[(frame.status == "ok") & (frame.dtype == "float32")]
    figures = {
        f"{name}-time": (lambda: over_native(good, "time"), "Time of forward and transpose over D"),
        f"{name}-memory": (lambda: over_native(good, "memory"), "Bytes held over D"),
    }
    if any(sample.n for sample in accuracies.values()):
        figures["projectors-accuracy"] = (
            lambda: over_dim(accuracies), "Accuracy of the post's conv net over d",
        )  # fmt: skip
    parts = [f"# Projectors on {cells.machine['gpu'] or cells.machine['cpu']}", about(cells)]
    said = advice.lines(Measured(good, accuracies))
    parts += ["## What to take", "\n".join(f"{i}. {line}" for i, line in enumerate(said, 1))]
    parts += [f"![{text}](figures/{figure}.svg)" for figure, (_, text) in figures.items()]
    for native in sorted(set(frame.native)):
        named = f" ({NATIVE[native]})" if native in NATIVE else ""
        parts += [f"## D = {native:,}{named}", shown(frame[frame.native == native])]
    parts += [HOW_TO_READ, f"All numbers: [{name}.csv]({name}.csv)."]
    write_atomically(out / f"{name}.md", "\n\n".join(part for part in parts if part) + "\n")
    return [out / f"{name}.md", *write_figures({k: draw for k, (draw, _) in figures.items()}, out)]


def about(cells: Cells) -> str:
    """What was measured, on what, and how to do it again."""
    facts = cells.machine
    read = f"{float(cells.read_gbs):,.1f} GB/s" if cells.read_gbs else "not measured"
    return (
        f"{facts['gpu'] or facts['cpu']} ({facts['cpu_capability']}), {cells.threads} threads, "
        f"torch {facts['torch']}, numba {facts['numba']}. This machine reads memory at {read}. "
        f"Measured by `subspace-bench compare --device {cells.device}`."
    )


def shown(rows: pd.DataFrame) -> str:
    """The cells of one D to read."""
    return table(pd.DataFrame([shown_cell(dict(row)) for _, row in rows.iterrows()]))


def shown_cell(row: dict[str, Any]) -> dict[str, str]:
    name = str(row["projector"])
    if row["dtype"] != "float32":
        name += f" ({row['dtype']})"
    labels = {"d": f"{int(row['dim']):,}", "projector": name}
    columns = ("columns", "held", "peak, θ", "set-up, s", "forward, ms", "transpose, ms",
               "of read", "projections/s", "‖Pω‖/‖ω‖", "coherence")  # fmt: skip
    if row["status"] != "ok":
        return {**labels, "columns": str(row["status"]), **dict.fromkeys(columns[1:], "")}
    theta = 4 * row["native"]
    both = row["forward_ms"] + row["transpose_ms"]
    least = 2 * (row["held_bytes"] + theta + 4 * row["dim"]) / (both * 1e-3)
    values = (
        promise(str(row["projector"]), int(row["native"]), int(row["dim"])),
        size(row["held_bytes"]),
        f"{row['peak_bytes'] / theta:,.1f}",
        f"{row['setup_s']:.2g}",
        spread(row, "forward"),
        spread(row, "transpose"),
        f"{least / 1e9 / row['read_gbs']:.0%}",
        f"{1e3 / row['forward_ms']:,.3g}",
        f"{row['norm_mean']:.3f} ± {row['norm_sd']:.2g}",
        "" if pd.isna(row["coherence"]) else f"{row['coherence']:.2g}",
    )
    return {**labels, **dict(zip(columns, values, strict=True))}


def spread(row: dict[str, Any], name: str) -> str:
    """Median (quartiles)."""
    middle, low, high = (row[f"{name}_{k}"] for k in ("ms", "q25", "q75"))
    return f"{middle:.3g} ({low:.3g}–{high:.3g})"


def promise(name: str, native: int, dim: int) -> str:
    try:
        return projectors.load(name).promises(native, dim)
    except UserError:
        return ""


def over_native(cells: pd.DataFrame, what: str) -> Figure:
    """Time or bytes held over D, one line a projector, one panel a d."""
    dims = [d for d in sorted(set(cells.dim)) if cells[cells.dim == d].native.nunique() > 1]
    panels = max(1, len(dims))
    figure, all_axes = plt.subplots(
        1, panels, figsize=(1.5 + 3.0 * panels, 4.2), sharey=True, squeeze=False
    )
    for axes, dim in zip(all_axes[0], dims, strict=False):
        for i, name in enumerate(dict.fromkeys(cells.projector)):
            rows = cells[(cells.dim == dim) & (cells.projector == name)].sort_values("native")
            values = rows.held_bytes.clip(lower=1) if what == "memory" else (
                rows.forward_ms + rows.transpose_ms)  # fmt: skip
            style = "-" if i < 10 else "--"
            axes.plot(
                rows.native, values, style, marker=MARKERS[i % len(MARKERS)], ms=4, label=name
            )
        axes.set_title(f"d = {dim:,}")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("D")
    all_axes[0][0].set_ylabel("bytes held" if what == "memory" else "forward + transpose, ms")
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
HOW_TO_READ = """\
## How to read

*columns*: what P's columns are: orthonormal, of unit length, or of unit length in expectation.
*held*: bytes that the projector keeps. *peak, θ*: the most that applying it takes beside ω and θ,
what it holds included, in copies of θ. *forward*, *transpose*: Pω and Pᵀθ, median (quartiles).
*of read*: how near both come to reading and writing what they must (P as held, ω and θ) once at the
speed at which this machine reads memory; what generates its entries is bound by arithmetic instead.
*‖Pω‖/‖ω‖*: mean ± standard deviation over random ω. *coherence*: the largest |⟨p_i, p_j⟩| among
10,000 sampled pairs of columns."""
