"""The page results/gpu.md, from gpu.csv and gpu.json (what a GPU was measured for) and
gpu-kernels.csv (what the compiler says without one)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import measurements
from benchmarks.gpu import models
from benchmarks.gpu.costs import step_costs
from benchmarks.gpu.kernels import TIMED
from benchmarks.gpu.stages import STAGES, Setting
from benchmarks.gpu.tables import SEEDS, post_cells
from subspace_bench.common.formatting import format_duration, format_significant
from subspace_bench.reporting.figures import PageFigure
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.render import write_page

NAME, COMPILED = "gpu", "gpu-kernels"
# H100 SXM's data sheet and white paper: to predict times before any are measured.
DATA_SHEET = {"gbs": 3_350, "tflops": 67, "multiprocessors": 132, "ghz": 1.755}
# Entries of P per clock and multiprocessor; see the docstring of kernels/triton/regenerated.py.
ENTRIES_PER_CLOCK = {"regenerated normals": 3, "regenerated signs": 27}
COMMAND = "python -m benchmarks.gpu --rebuild"


def rebuild(out: Path) -> list[Path]:
    """Writes the pages of every measured GPU; without any, a page that says so."""
    names = sorted(path.stem for path in out.glob(f"{NAME}*.json"))
    compiled = out / f"{COMPILED}.csv"
    needs = pd.read_csv(compiled) if compiled.is_file() else None
    pages = [page(name, measurements.load(name, out), needs) for name in names]
    return [path for each in pages or [not_measured(needs)] for path in write_page(each, out)]


def not_measured(needs: pd.DataFrame | None) -> Page:
    """The page while no GPU was measured: predictions only."""
    cells, seconds = predicted_cells()
    return Page(
        name=NAME,
        title="On a GPU: kernels, training steps, other implementations",
        summary="Not measured yet: no GPU was at hand",
        tables={"predicted": predictions(), "cells": cells, **compiler_table(needs)},
        values={"sheet": DATA_SHEET, "seconds": f"{seconds:.0f}", "seeds": SEEDS},
        command=COMMAND,
        template="gpu-not-measured",
    )


def page(name: str, measured: measurements.Measurements, needs: pd.DataFrame | None = None) -> Page:
    """The page of one GPU."""
    numbers = measured.numbers.assign(earlier=False)
    if "sources" in numbers:  # absent if every item failed
        known = numbers["sources"].notna()
        numbers["earlier"] = known & (numbers["sources"] != measured.facts["sources"])
    rows = {stage: frame.dropna(axis="columns", how="all")
            for stage, frame in numbers.groupby("stage", sort=False)}  # fmt: skip
    done = {stage: frame[frame["status"] == "ok"] for stage, frame in rows.items()}
    ceilings = ceilings_of(done.get("ceilings"))
    gpu = str(measured.facts.get("gpu") or "a GPU")
    tables = {
        "stages": stages_table(numbers),
        **{key: make(done[key]) for key, make in TABLES.items() if key in done},
        **{key: hold(done[key], ceilings) for key, hold in HELD.items() if key in done},
        **compiler_table(needs),
        "machine": pd.DataFrame(measured.facts.items(), columns=["", "value"]).astype(str),
        "unsuccessful": unsuccessful(measured.numbers),
    }
    return Page(
        name=name,
        title=f"On {gpu}: kernels, training steps, other implementations",
        summary=summarize(measured.numbers, ceilings),
        figures=figures(name, done.get("steps")),
        tables={key: table for key, table in tables.items() if not table.empty},
        data=measured.text,
        command=COMMAND,
        template=NAME,
    )


def ceilings_of(frame: pd.DataFrame | None) -> dict[str, float]:
    """Item → its value, such as GB/s of "copy"."""
    if frame is None or "value" not in frame:
        return {}
    found = frame.dropna(subset="value")
    return dict(zip(found["item"], found["value"], strict=True))


def summarize(numbers: pd.DataFrame, ceilings: dict[str, float]) -> str:
    """How many items succeeded, and the device's copy bandwidth."""
    ok, failed = (numbers["status"].str.startswith(kind).sum() for kind in ("ok", "failed"))
    parts = [f"{ok} measurements and checks succeeded, {failed} failed"]
    tables = numbers[(numbers["stage"] == "tables") & (numbers["status"] == "ok")]
    if len(tables):
        seconds = format_duration(models.whole_seconds(tables))
        whole = len(post_cells("cuda"))
        parts.append(
            f"{len(tables)} of the {whole} cells of the post's tables trained in {seconds}"
        )
    if "copy" in ceilings:
        parts.append(f"memory is copied at {format_significant(ceilings['copy'])} GB/s")
    return "; ".join(parts)


def figures(name: str, steps: pd.DataFrame | None) -> dict[str, PageFigure]:
    """Models per second, once some number of models was trained together."""
    if steps is None or (found := models.models_per_second(steps)).empty:
        return {}
    caption = "Models per second over the number of models trained together, 10 epochs each"
    return {f"{name}-models": PageFigure(lambda: models.plot_models(found), caption)}


def stages_table(numbers: pd.DataFrame) -> pd.DataFrame:
    """One row a stage."""
    lines = []
    for stage, frame in numbers.groupby("stage", sort=False):
        kinds = frame["status"].str.partition(":")[0].value_counts()
        about = STAGES[str(stage)].about if stage in STAGES else ""
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        lines.append({"stage": stage, "what": about, "items": counts,
                      "of earlier code": str(frame["earlier"].sum() or ""),
                      "seconds": format_significant(float(frame["seconds"].sum()))})  # fmt: skip
    return pd.DataFrame(lines)


def unsuccessful(numbers: pd.DataFrame) -> pd.DataFrame:
    """Every item that did not succeed, and why."""
    return numbers.loc[numbers["status"] != "ok", ["stage", "item", "status"]]


def ceilings_table(frame: pd.DataFrame) -> pd.DataFrame:
    """What the device can do at most."""
    shown = frame.dropna(subset="value") if "value" in frame else frame.iloc[:0]
    return pd.DataFrame(
        {"what": row["item"], "at most": f"{format_significant(row['value'])} {row['unit']}"}
        for row in shown.to_dict("records")
    )


def errors_table(frame: pd.DataFrame) -> pd.DataFrame:
    """The largest error of each projector in each dtype."""
    maps = frame[frame["item"].str.startswith("map: ")]
    names = maps["item"].str.removeprefix("map: ").str.split(" ").str[0]
    kinds = [kind for kind in ("float64", "float32", "bfloat16", "float16") if kind in maps]
    worst = maps.groupby(names, sort=False)[kinds].max()
    return pd.DataFrame(
        {"projector": name, **{kind: f"{row[kind]:.1e}" for kind in kinds}}
        for name, row in worst.iterrows()
    )


def plain_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Every number of a stage, without quartiles (the csv has them)."""
    hidden = ("stage", "status", "seconds", "sources", "earlier")
    columns = [c for c in frame.columns if c not in hidden and not c.endswith(("_q25", "_q75"))]
    return frame[columns].map(show)


def peers_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Times of ours and of peers."""
    names = {"item": "item", "ours_ms": "ours, ms", "theirs_ms": "peer's, ms",
             "times_ours": "peer's ÷ ours"}  # fmt: skip
    return plain_table(frame)[[name for name in names if name in frame]].rename(columns=names)


def show(cell: Any) -> str:
    """A cell: three digits, or blank where there is no number."""
    if isinstance(cell, str):
        return cell
    return "" if pd.isna(cell) else format_significant(float(cell))


TABLES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "ceilings": ceilings_table,
    "correctness": errors_table,
    "peers": peers_table,
}
HELD = {
    "kernels": models.kernels_table,
    "steps": models.steps_table,
    "tables": models.tables_table,
    "planned": models.tables_table,
}


def predictions() -> pd.DataFrame:
    """The bytes that each timed kernel moves, or the entries it computes, and the least time."""
    setting, lines = Setting("meta", dry=False, work=Path()), []
    clocks = DATA_SHEET["multiprocessors"] * DATA_SHEET["ghz"] * 1e9
    for name, make in TIMED.items():
        timed = make(setting)
        per_clock = next((n for kind, n in ENTRIES_PER_CLOCK.items() if name.startswith(kind)), 0)
        least = timed.moved / DATA_SHEET["gbs"] / 1e6
        if per_clock:
            least = max(least, timed.entries / (per_clock * clocks) * 1e3)
        lines.append(
            {
                "kernel": name,
                "bytes moved": f"{timed.moved:,}",
                "entries computed": f"{timed.entries:,}" if timed.entries else "",
                "bound by": "arithmetic" if per_clock else "memory",
                "at least, ms": format_significant(least),
                "target": f"{timed.target:.0%} of {timed.limit}" if timed.target else "",
            }
        )
    return pd.DataFrame(lines)


def predicted_cells() -> tuple[pd.DataFrame, float]:
    """The least seconds of each cell of the post's tables, trained as one batch; their sum."""
    lines, total = [], 0.0
    for name, runs in post_cells("cuda").items():
        costs, steps = step_costs(runs[0], len(runs)), runs[0].protocol.steps
        memory = steps * costs["bytes"] / DATA_SHEET["gbs"] / 1e9
        arithmetic = steps * costs["operations"] / DATA_SHEET["tflops"] / 1e12
        total += max(memory, arithmetic)
        lines.append({"cell": name, "updates": f"{steps:,}",
                      "bytes allow, s": format_significant(memory),
                      "operations allow, s": format_significant(arithmetic)})  # fmt: skip
    return pd.DataFrame(lines), total


def compiler_table(needs: pd.DataFrame | None) -> dict[str, pd.DataFrame]:
    """The table of registers and shared memory; none if kernels were not compiled."""
    if needs is None:
        return {}
    return {"compiled": needs.map(lambda cell: f"{cell:,}" if isinstance(cell, int) else cell)}
