"""The command line: one module per command, assembled here.

Commands import torch and pandas only when they run, so --help is fast.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import Abort, TyperException

from subspace_bench import __version__
from subspace_bench.cli.check import check
from subspace_bench.cli.compare import compare
from subspace_bench.cli.data import data
from subspace_bench.cli.dimension import dimension
from subspace_bench.cli.export import export
from subspace_bench.cli.list import list_
from subspace_bench.cli.options import BAD_INPUT, CRASHED, INTERRUPTED, this_command
from subspace_bench.cli.report import report
from subspace_bench.cli.reproduce import reproduce
from subspace_bench.cli.train import train
from subspace_bench.cli.watch import watch
from subspace_bench.common.errors import (
    UserError,
    describe_failure,
    describe_os_error,
    is_out_of_memory,
)
from subspace_bench.common.interruption import handled_signals

COMPLETING = "_SUBSPACE_BENCH_COMPLETE"  # typer ends the process when it has completed the words


class Commands(TyperGroup):
    """The commands. If a command does not handle an interruption, it has nothing to save."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print(f"\ninterrupted. To start again: {this_command()}", file=sys.stderr)
            return INTERRUPTED


app = typer.Typer(
    cls=Commands,
    help="Train networks in random subspaces, θ = θ₀ + Pω, and reproduce every table and figure "
    'of the post "Training Networks in Random Subspaces" (2017).\n\n'
    "Exit codes: 0 done; 1 runs failed, or accuracy changed; 2 bad input, or nothing could be "
    "done; 3 an error of this program; 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits; `app.info.help` lists the exit codes."""
    code = INTERRUPTED
    with contextlib.suppress(KeyboardInterrupt), handled_signals():
        code = run(arguments)
    sys.exit(code)


def run(arguments: list[str] | None) -> int:
    """Runs the command line; prints one line for any failure, and returns the exit code."""
    try:
        require_encodable(sys.argv[1:] if arguments is None else arguments)
        return app(arguments, prog_name="subspace-bench", standalone_mode=False) or 0
    except UserError as failure:
        return print_error(str(failure))
    except TyperException as failure:
        return print_error(failure.format_message()) if failure.format_message() else BAD_INPUT
    except OSError as failure:
        return print_error(describe_os_error(failure))
    except (Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BaseException as failure:
        if isinstance(failure, SystemExit) and COMPLETING in os.environ:
            return int(failure.code or 0)
        if is_out_of_memory(failure):
            return print_error(describe_failure(failure))
        return print_unexpected(failure)


def require_encodable(arguments: Sequence[str]) -> None:
    """Raises UserError for text that no operating system hands over, such as half a character."""
    for argument in arguments:
        try:
            valid = b"\0" not in os.fsencode(argument)
        except UnicodeEncodeError:
            valid = False
        if not valid:
            raise UserError(f"{argument!a} contains a character that no file name can have")


def print_error(message: str) -> int:
    """Prints one line to stderr; returns the exit code."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return BAD_INPUT


def print_unexpected(failure: BaseException) -> int:
    """Prints one line to stderr and writes the traceback to a file; returns the exit code."""
    text = "".join(traceback.format_exception(failure))
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            prefix="subspace-bench-",
            suffix=".log",
            delete=False,
            encoding="utf-8",
            errors="backslashreplace",  # file names may have bytes that are no UTF-8
        ) as file:
            file.write(f"{this_command()}\nsubspace-bench {__version__}\n{text}")
        where = file.name
    except OSError:
        print(text, file=sys.stderr)
        where = "above"
    print_error(f"unexpected {describe_failure(failure)} (traceback: {where})")
    return CRASHED


def print_version(requested: bool) -> None:
    if requested:
        print(f"subspace-bench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None: ...


for command in (reproduce, train, watch, report, data, compare, dimension, check, export):
    app.command()(command)
app.command(name="list")(list_)
