"""What the page of a GPU shows before one is measured: memory, and the least time, of every case.

Memory is what `subspace-bench compare` predicts, to skip cases that do not fit. The least time is
that of reading or writing P, ω and θ once for each product.
"""

from __future__ import annotations

import pandas as pd

from subspace_bench import projectors
from subspace_bench.common.formatting import format_bytes, format_significant
from subspace_bench.profiling.cases import DIMS, NATIVE, TimingCase, grid
from subspace_bench.profiling.derived import moved_bytes
from subspace_bench.profiling.worker import fits
from subspace_bench.projectors.registry import BUILT_IN

GPU = "H100 SXM"
GPU_BYTES, GPU_GBS = 80e9, 3_350  # of its data sheet
TOO_LARGE = "too large"
SHORT, SHORTER = 1e-3, "< 0.001"  # milliseconds; below, launches decide


def tables() -> dict[str, pd.DataFrame]:
    """ "predicted_memory" and "predicted_times": one row per (D, d), one column per projector."""
    lines: dict[str, dict[tuple[int, int], dict[str, str]]] = {"memory": {}, "times": {}}
    for case in grid(list(BUILT_IN), tuple(NATIVE), DIMS, "cuda", "float32"):
        size = {"D": f"{case.native:,}", "d": f"{case.dim:,}"}
        shown = show(case)
        for kind, cell in zip(lines, shown, strict=True):
            line = lines[kind].setdefault((case.native, case.dim), dict(size))
            if kind == "times":
                line.setdefault("take", "not measured")
            line[case.projector] = cell
    return {f"predicted_{kind}": pd.DataFrame(rows.values()).fillna("")
            for kind, rows in lines.items()}  # fmt: skip


def show(case: TimingCase) -> tuple[str, str]:
    """Memory that a case needs, and the least milliseconds of both products."""
    if not fits(case, GPU_BYTES):
        return TOO_LARGE, TOO_LARGE
    nonzero = projectors.nonzero_rows(case.projector, case.native, case.dim)
    moved = moved_bytes(case.footprint.resident_bytes, case.native, case.dim, 4, nonzero)
    ms = moved / GPU_GBS / 1e6
    return format_bytes(case.needed_bytes), format_significant(ms) if ms >= SHORT else SHORTER
