"""The command `subspace-bench compare`: options to cells, cells to a page."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from subspace_bench import projectors
from subspace_bench.common import validation
from subspace_bench.common.errors import UserError
from subspace_bench.common.formatting import format_bytes, format_duration, print_table
from subspace_bench.common.hardware import core_count
from subspace_bench.experiments import Evidence, Plan
from subspace_bench.experiments import projectors as page
from subspace_bench.experiments.projector_accuracy import accuracies
from subspace_bench.profiling.cases import (
    DIMS,
    NATIVE,
    SHARE,
    Cells,
    free_memory,
    grid,
    run,
    waiting,
)
from subspace_bench.profiling.timing import DTYPES, Case
from subspace_bench.records.committed import committed_store

CELL, LARGE = 5.0, 35.0  # seconds that cells take on two cores, and √(D/10⁸) times more


def wanted(
    names: str | None, native: str | None, dims: str | None, device: str, dtype: str
) -> list[Case]:
    """The cells that the options ask for.

    Raises:
        UserError: for an unknown projector or dtype, or sizes that are none.
    """
    chosen = projectors.names()
    if names:
        chosen = list(dict.fromkeys(name.strip() for name in names.split(",")))
    validation.require_choice("projector", chosen, projectors.names())
    validation.require_choice("dtype", [dtype], DTYPES)
    return grid(
        chosen,
        numbers("--native", native, tuple(NATIVE)),
        numbers("--dims", dims, DIMS),
        device,
        dtype,
    )


def numbers(option: str, text: str | None, default: tuple[int, ...]) -> tuple[int, ...]:
    """Whole numbers from "10,100"."""
    if text is None:
        return default
    try:
        return tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError as failure:
        raise UserError(
            f"{option} is {text!r}: give whole numbers with commas between, as 100,1000"
        ) from failure


def compare(
    cases: list[Case],
    repeat: int,
    plan: bool,
    force: bool,
    out: Path,
    screen: Console,
    seconds: float = math.inf,
) -> int:
    """Measures what is not measured yet, for so many seconds, and writes the page.

    Returns the exit code.
    """
    cells = Cells(out, cases[0].device, core_count())
    left = cases if force else waiting(cases, cells)
    free = free_memory(cells.device)
    fitting = [case for case in left if fits(case, free)]
    screen.print(
        f"{len(cases) - len(left)} of {len(cases)} cells are measured, {len(left)} to come, "
        f"{len(left) - len(fitting)} of which do not fit {format_bytes(free)}: about "
        f"{format_duration(sum(CELL + LARGE * math.sqrt(case.native / 1e8) for case in fitting))}"
    )
    if cells.other:
        screen.print(
            f"{cells.other} holds cells of another machine and stays as it is: "
            f"this machine's are in {cells.path.name}"
        )
    if plan:
        print_table(screen, "Cells to measure", listing(left, free))
        return 0

    def tell(case: Case, found: dict[str, Any]) -> None:
        screen.print(f"{case.label:<44} {said(found)}")

    try:
        done = run(left, cells, repeat, tell, seconds)
        if done < len(left):
            screen.print(f"time is up: {len(left) - done} cells to come; the same command goes on")
    finally:
        if not cells.frame().empty:
            evidence = Evidence(Plan("full"), committed_store(), None)
            lacking = sum(cells.key(case) not in cells.rows for case in cases)
            for path in page.write(cells, accuracies(evidence), out, lacking)[:1]:
                screen.print(str(path))
    page.write_not_measured(out)
    return 0


def fits(case: Case, free: float) -> bool:
    """Whether a cell is worth a try; one whose projector cannot be had fails by itself."""
    try:
        return case.needed_bytes <= SHARE * free
    except UserError:
        return True


def listing(cases: list[Case], free: float) -> pd.DataFrame:
    """The cells of --plan with the memory they need."""
    return pd.DataFrame({"cell": case.label, **memory(case, free)} for case in cases)


def memory(case: Case, free: float) -> dict[str, str]:
    """What a cell of --plan needs."""
    try:
        needed = format_bytes(case.needed_bytes)
    except UserError as failure:
        return {"memory": "?", "": str(failure)}
    return {"memory": needed, "": "" if fits(case, free) else "does not fit"}


def said(found: dict[str, Any]) -> str:
    """A cell in a line."""
    if found["status"] != "ok":
        return str(found["status"])
    return (
        f"{format_bytes(found['resident_bytes'])} held, set-up {found['setup_s']:.2g} s, forward "
        f"{found['forward_ms']:.3g} ms, transpose {found['transpose_ms']:.3g} ms"
    )
