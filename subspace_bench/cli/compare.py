"""`subspace-bench compare`: options → cases → measurements → page."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from subspace_bench.cli.options import BAD_INPUT, FAILED_RUNS, INTERRUPTED, Out, this_command
from subspace_bench.common import validation
from subspace_bench.common.errors import UserError
from subspace_bench.common.formatting import (
    format_bytes,
    format_duration,
    make_console,
    print_table,
)
from subspace_bench.common.hardware import core_count

if TYPE_CHECKING:
    import pandas as pd

    from subspace_bench.profiling.cases import TimingCase

# Seconds per case on two cores: CASE_SECONDS + LARGE_CASE_SECONDS · √(D/10⁸).
CASE_SECONDS, LARGE_CASE_SECONDS = 5.0, 35.0
LARGEST_SIZE = 10**12


def compare(
    names: Annotated[
        str | None,
        typer.Option("--projectors", help="Comma-separated projectors. Default: all."),
    ] = None,
    native: Annotated[
        str | None, typer.Option(help="Comma-separated D. Default: six, from 21840 to 10⁹.")
    ] = None,
    dims: Annotated[
        str | None, typer.Option(help="Comma-separated d. Default: five, from 10 to 100000.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="Data type of ω and θ.")] = "float32",
    repeat: Annotated[int, typer.Option(help="Minimum number of samples of each time.")] = 7,
    plan: Annotated[bool, typer.Option("--plan", help="Show the cases; measure nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Measure finished cases again.")] = False,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after this time; the same command continues.")
    ] = None,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Rebuild pages from the csv files of any machine."),
    ] = False,
    out: Out = Path("results"),
) -> int:
    """Measure memory, time and distortion of projectors; write projectors-<device>.md.

    The same command continues where an earlier one on this machine stopped. Failed and
    out-of-memory cases are retried; timeouts are not.
    """
    validation.require_at_least(1, repeat=repeat)
    validation.require_at_least(0, minutes=minutes)
    validation.check_output_dir(out)
    if rebuild:
        validation.require_choice("device", [device], ("cpu", "cuda"))
        from subspace_bench.experiments.projectors import rebuild_pages

        for path in rebuild_pages(device, out):
            print(path)
        return 0
    cases = select_cases(names, native, dims, validation.resolve_device(device), dtype)
    seconds = math.inf if minutes is None else 60 * minutes
    try:
        return measure_cases(cases, repeat, plan, force, out, seconds)
    except KeyboardInterrupt:
        print(
            f"\ninterrupted: all cases measured so far are kept. To continue: {this_command()}",
            file=sys.stderr,
        )
        return INTERRUPTED


def select_cases(
    names: str | None, native: str | None, dims: str | None, device: str, dtype: str
) -> list[TimingCase]:
    """The cases that the options ask for.

    Raises:
        UserError: for an unknown projector or dtype, or invalid sizes.
    """
    from subspace_bench import projectors
    from subspace_bench.profiling.cases import DIMS, DTYPES, NATIVE, grid

    chosen = projectors.names()
    if names:
        chosen = list(dict.fromkeys(name.strip() for name in names.split(",")))
    validation.require_choice("projector", chosen, projectors.names())
    validation.require_choice("dtype", [dtype], DTYPES)
    sizes = parse_integers("--native", native, tuple(NATIVE)), parse_integers("--dims", dims, DIMS)
    return grid(chosen, *sizes, device, dtype)


def parse_integers(option: str, text: str | None, default: tuple[int, ...]) -> tuple[int, ...]:
    """The integers of "10,100", without duplicates."""
    if text is None:
        return default
    try:
        numbers = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError as failure:
        raise UserError(
            f"{option} is {text!r}: give comma-separated integers, such as 100,1000"
        ) from failure
    for number in numbers:
        validation.require_at_least(1, LARGEST_SIZE, **{option.lstrip("-"): number})
    return numbers


def measure_cases(
    cases: list[TimingCase], repeat: int, plan: bool, force: bool, out: Path, seconds: float
) -> int:
    """Measures pending cases (all, with `force`), writes the page, and returns the exit code."""
    from subspace_bench.experiments.projectors import write_page_of
    from subspace_bench.profiling.table import TimingTable
    from subspace_bench.profiling.worker import fits, free_memory, measure_all

    console, device = make_console(), cases[0].device
    table = TimingTable(out, device, core_count())
    todo, free = cases if force else table.pending(cases), free_memory(device)
    fitting = [case for case in todo if fits(case, free)]
    console.print(
        f"{len(cases) - len(todo)} of {len(cases)} cases are measured. {len(todo)} to measure, of "
        f"which {len(todo) - len(fitting)} do not fit into {format_bytes(free)}: "
        f"about {format_duration(sum(map(expected_seconds, fitting)))}"
    )
    if table.foreign:
        console.print(
            f"{table.foreign} belongs to another machine and is not changed. "
            f"This machine's cases are in {table.path.name}"
        )
    if plan:
        print_table(console, "Cases to measure", list_cases(todo, free))
        return 0

    statuses: list[str] = []

    def show(case: TimingCase, result: dict[str, Any]) -> None:
        statuses.append(result["status"])
        console.print(f"{case.label:<44} {describe_result(result)}")

    try:
        done = measure_all(todo, table, repeat, show, seconds)
        if done < len(todo):
            console.print(f"time is up: {len(todo) - done} cases left; the same command continues")
    finally:
        if table.path.exists():
            missing = sum(table.get(case) is None for case in cases)
            console.print(str(write_page_of(table.path, missing)[0]))
    return exit_code(statuses)


def exit_code(statuses: Sequence[str]) -> int:
    """0: done, or too large or too slow here; 1: some cases failed; 2: some did, none succeeded."""
    if not any(status.startswith("failed") for status in statuses):
        return 0
    return FAILED_RUNS if "ok" in statuses else BAD_INPUT


def expected_seconds(case: TimingCase) -> float:
    return CASE_SECONDS + LARGE_CASE_SECONDS * math.sqrt(case.native / 1e8)


def list_cases(cases: list[TimingCase], free: float) -> pd.DataFrame:
    """The table of --plan: each case with the memory it needs."""
    import pandas as pd

    from subspace_bench.profiling.worker import fits

    lines = []
    for case in cases:
        try:
            memory, note = format_bytes(case.needed_bytes), ""
        except UserError as failure:
            memory, note = "?", str(failure)
        note = note or ("" if fits(case, free) else "does not fit")
        lines.append({"case": case.label, "memory": memory, "note": note})
    return pd.DataFrame(lines)


def describe_result(result: dict[str, Any]) -> str:
    """A result in one line."""
    if result["status"] != "ok":
        return str(result["status"])
    return (
        f"{format_bytes(result['resident_bytes'])} stored, set-up {result['setup_s']:.2g} s, "
        f"forward {result['forward_ms']:.3g} ms, transpose {result['transpose_ms']:.3g} ms"
    )
