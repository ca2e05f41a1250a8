"""The command line: one module per command, assembled here.

Commands import torch and pandas only when they run, so --help is fast.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import Abort, TyperException

from subspace_bench import __version__
from subspace_bench.cli.check import check
from subspace_bench.cli.compare import compare
from subspace_bench.cli.data import data
from subspace_bench.cli.dimension import dimension
from subspace_bench.cli.list import list_
from subspace_bench.cli.options import BAD_INPUT, INTERRUPTED, this_command
from subspace_bench.cli.report import report
from subspace_bench.cli.reproduce import reproduce
from subspace_bench.cli.train import train
from subspace_bench.common.errors import UserError, describe_os_error


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
    'of the post "Training Networks in Random Subspaces" (2017).',
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 1 runs failed, 2 bad input, 130 interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `kill` works like Ctrl-C
    try:
        code = app(arguments, prog_name="subspace-bench", standalone_mode=False)
    except UserError as failure:
        code = print_error(str(failure))
    except TyperException as failure:
        code = print_error(failure.format_message()) if failure.format_message() else BAD_INPUT
    except BrokenPipeError:  # the reader of our output has exited, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as failure:
        code = print_error(describe_os_error(failure))
    except Abort:
        code = INTERRUPTED
    sys.exit(code or 0)


def print_error(message: str) -> int:
    """Prints one line to stderr; returns the exit code."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return BAD_INPUT


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


for command in (reproduce, train, report, data, compare, dimension, check):
    app.command()(command)
app.command(name="list")(list_)
