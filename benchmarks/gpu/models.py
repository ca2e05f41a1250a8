"""Predicted times beside measured ones: bytes over bandwidth, operations over their rate."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from subspace_bench.common.formatting import format_significant

Ceilings = dict[str, float]  # item of the stage `ceilings` → its value
BATCHED = r"(\d+) nets, d = (.+)"


def kernels_table(frame: pd.DataFrame, ceilings: Ceilings) -> pd.DataFrame:
    """Times of kernels, what a model says, and which fraction of the limit they reach."""
    if "device_ms" not in frame:
        return frame.iloc[:0]
    lines = []
    for row in frame.dropna(subset="device_ms").to_dict("records"):
        rate, limit = row.get("entries_per_s", math.nan), row.get("ceiling") or "copy"
        computed = not pd.isna(rate)
        model = row["moved_bytes"] / ceilings.get(limit, math.nan) / 1e6
        reached = "" if computed or math.isnan(model) else f"{model / row['device_ms']:.0%}"
        target = row.get("target") or 0.0
        lines.append(
            {
                "kernel": name_of(row),
                "ms": format_significant(row["device_ms"]),
                "model, ms": "" if computed or math.isnan(model) else format_significant(model),
                "of the limit": reached and f"{reached} of {limit}",
                "target": "" if computed or not target > 0 else f"{target:.0%}",
                "GB/s": "" if computed else format_significant(row["gbs"]),
                "10⁹ entries/s": format_significant(rate / 1e9) if computed else "",
            }
        )
    return pd.DataFrame(lines)


def name_of(row: dict[Any, Any]) -> str:
    """The name of an item, with a * if it was measured with older code."""
    return str(row["item"]) + "*" * (row.get("earlier") is True)


def least_ms(row: dict[Any, Any], ceilings: Ceilings) -> tuple[float, float]:
    """Milliseconds of a step's bytes at the read bandwidth, and of its operations in float32."""
    read, rate = ceilings.get("read", math.nan), ceilings.get("GEMM float32", math.nan)
    return (row.get("bytes", math.nan) / read / 1e6,
            row.get("operations", math.nan) / rate / 1e9)  # fmt: skip


def steps_table(frame: pd.DataFrame, ceilings: Ceilings) -> pd.DataFrame:
    """Milliseconds of steps beside what bandwidth and arithmetic allow."""
    lines = []
    for row in frame.to_dict("records"):
        memory, arithmetic = least_ms(row, ceilings)
        lines.append(
            {
                "step": name_of(row),
                "ms": number(row, "step_ms"),
                "in the graph, ms": number(row, "graph_ms"),
                "bytes allow, ms": blank(memory),
                "operations allow, ms": blank(arithmetic),
                "models per second": number(row, "nets_per_s"),
                "peak, GB": number(row, "peak_gb"),
                "QR, s": number(row, "seconds_qr"),
            }
        )
    return pd.DataFrame(lines)


def tables_table(frame: pd.DataFrame, ceilings: Ceilings) -> pd.DataFrame:
    """The post's cells: seconds of all seeds, what bandwidth and arithmetic allow, accuracies."""
    lines = []
    for row in frame.to_dict("records"):
        least = [ms * row["steps"] / 1e3 for ms in least_ms(row, ceilings)]
        lines.append(
            {
                "cell": name_of(row),
                "runs": f"{row['nets']:.0f}",
                "set-up, s": number(row, "seconds_set_up"),
                "training, s": number(row, "seconds_training"),
                "bytes allow, s": blank(least[0]),
                "operations allow, s": blank(least[1]),
                "batched on the GPU, %": spread(row, ""),
                "alone on a CPU, %": spread(row, "cpu_"),
                "dataset": row["dataset"],
            }
        )
    return pd.DataFrame(lines)


def whole_seconds(frame: pd.DataFrame) -> float:
    """Seconds of all cells, set-up included."""
    return float((frame["seconds_set_up"] + frame["seconds_training"]).sum())


def models_per_second(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns `nets`, `d` and `nets_per_s` of the batched steps."""
    if "nets_per_s" not in frame:
        return frame.iloc[:0]
    found = frame.dropna(subset="nets_per_s")
    return found.assign(d=found["item"].str.extract(BATCHED)[1])[["nets", "d", "nets_per_s"]]


def plot_models(frame: pd.DataFrame) -> Figure:
    """Models per second over the number of models trained together, one line a d."""
    figure, axes = plt.subplots(figsize=(6.4, 4.0))
    for dim, rows in frame.groupby("d", sort=False):
        rows = rows.sort_values("nets")
        axes.plot(rows["nets"], rows["nets_per_s"], marker="o", ms=4, label=f"d = {dim}")
    axes.set(xscale="log", yscale="log", xlabel="models trained together",
             ylabel="models per second")  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.legend()
    return figure


def spread(row: dict[Any, Any], prefix: str) -> str:
    """Mean ± standard deviation, and the number of runs if it is not the row's."""
    mean, sd = row.get(f"{prefix}accuracy", math.nan), row.get(f"{prefix}accuracy_sd", math.nan)
    if pd.isna(mean):
        return ""
    count = row.get(f"{prefix}nets", row["nets"])
    return f"{mean:.2f} ± {sd:.2f}" + (f" ({count:.0f})" if count != row["nets"] else "")


def number(row: dict[Any, Any], name: str) -> str:
    return blank(row.get(name, math.nan))


def blank(value: float) -> str:
    """Three digits, or blank where there is no number."""
    return "" if pd.isna(value) else format_significant(float(value))
