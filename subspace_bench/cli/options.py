"""Options and exit codes that several commands share."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

BAD_INPUT, FAILED_RUNS, INTERRUPTED = 2, 1, 130

Tables = Annotated[list[str] | None, typer.Argument(help="Tables; all of them if none is named.")]
Out = Annotated[Path, typer.Option(help="Where tables, figures and runs/ (your records) go.")]
Data = Annotated[
    Path | None,
    typer.Option(help="Folder with the data; else SUBSPACE_BENCH_DATA, a cache, a download."),
]
Profile = Annotated[
    str,
    typer.Option(help="quick (2 minutes), post (all that the post trained) or full (tutorials)."),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Train again from the start; records and checkpoints go first."),
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


def this_command(without: str = "") -> str:
    """The command that goes on with the interrupted one: the same, but for an option `without`."""
    arguments = [argument for argument in sys.argv[1:] if argument != without]
    if os.environ.get("NOX_CURRENT_SESSION") == "reproduce":
        options = arguments[1:]
        return shlex.join(["nox", "-s", "reproduce", *(["--", *options] if options else [])])
    return shlex.join(["subspace-bench", *arguments])
