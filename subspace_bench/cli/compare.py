"""`subspace-bench compare`: its options."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated

import typer

from subspace_bench.cli.options import INTERRUPTED, Out, this_command
from subspace_bench.common import validation
from subspace_bench.common.formatting import make_console


def compare(
    names: Annotated[
        str | None, typer.Option("--projectors", help="Names with commas between; else all.")
    ] = None,
    native: Annotated[
        str | None, typer.Option(help="Values of D with commas between; else 21840 to 10⁹.")
    ] = None,
    dims: Annotated[
        str | None, typer.Option(help="Values of d with commas between; else 10 to 100000.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="Of ω and θ.")] = "float32",
    repeat: Annotated[int, typer.Option(help="Samples of every time, at least.")] = 7,
    plan: Annotated[bool, typer.Option("--plan", help="Show the cells; measure nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Measure all of it again.")] = False,
    minutes: Annotated[
        float | None, typer.Option(help="After which it stops; the same command goes on.")
    ] = None,
    out: Out = Path("results"),
) -> int:
    """Measure projectors: memory, time, distortion; write projectors-<device>.md.

    Goes on where an earlier call on this machine stopped.
    """
    validation.require_at_least(1, repeat=repeat)
    validation.require_at_least(0, minutes=minutes)
    validation.check_output_dir(out)
    from subspace_bench.cli import compare_flow

    wanted = compare_flow.wanted(names, native, dims, validation.resolve_device(device), dtype)
    try:
        seconds = math.inf if minutes is None else 60 * minutes
        return compare_flow.compare(wanted, repeat, plan, force, out, make_console(), seconds)
    except KeyboardInterrupt:
        print(
            f"\ninterrupted: the cells measured so far are kept. To go on: {this_command()}",
            file=sys.stderr,
        )
        return INTERRUPTED
