"""Exit codes, options and messages that several commands share."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from subspace_bench.common import validation
from subspace_bench.common.errors import UserError

if TYPE_CHECKING:
    from subspace_bench.records.config import RunConfig
    from subspace_bench.training.executor import Event

EXECUTORS = ("local", "ray", "submitit")
FAILED_RUNS, BAD_INPUT, CRASHED, INTERRUPTED = 1, 2, 3, 130


def expand(text: str | Path) -> Path:
    """The path that an option names; ~ is a home directory, also in `--out=~/x`, for any shell.

    Raises:
        UserError: if it begins with ~ and a name that is no user's.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as failure:
        raise UserError(f"{str(text)!r}: there is no such user") from failure


def path_option(text: str) -> Any:
    """An option that names a file or a folder."""
    return typer.Option(help=text, parser=expand, metavar="PATH")


def choice_option(text: str, *choices: str) -> Any:
    """An option whose values the shell completes; the command checks them."""
    return typer.Option(help=text, autocompletion=lambda: list(choices))


Pages = Annotated[list[str] | None, typer.Argument(help="Names of pages. Default: all pages.")]
Out = Annotated[Path, path_option("Folder for pages, figures and your records (runs/).")]
Data = Annotated[
    Path | None,
    path_option("Folder with the dataset. Default: $SUBSPACE_BENCH_DATA, cache, download."),
]
Dataset = Annotated[
    str,
    choice_option(
        "mnist, fashion-mnist, or mnist-5k (needs no download).",
        *("mnist", "fashion-mnist", "mnist-5k"),
    ),
]
Profile = Annotated[
    str,
    choice_option(
        "quick: shortened runs, 2 minutes. post: the post's own runs. full: tutorials as well.",
        *("quick", "post", "full"),
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Delete these runs' records and train them again.")
]
Device = Annotated[str, choice_option("cpu, cuda, or auto.", "cpu", "cuda", "auto")]


def page_names(given: list[str] | None, profile: str) -> list[str]:
    """The requested pages, or all, in order.

    Raises:
        UserError: for an unknown page or profile.
    """
    from subspace_bench.experiments import STUDIES
    from subspace_bench.experiments.study import PROFILES

    validation.require_choice("profile", [profile], PROFILES)
    validation.require_choice("page", given or [], STUDIES)
    return [name for name in STUDIES if not given or name in given]


def report_failures(failures: Sequence[Event[RunConfig]], labels: Mapping[RunConfig, str]) -> int:
    """Prints a line for each failed run; returns the exit code."""
    for failure in failures:
        print(f"failed: {labels[failure.case]}: {failure.reason}", file=sys.stderr)
    return FAILED_RUNS if failures else 0


def report_interruption(kept: str) -> int:
    """Prints what is kept and how to continue; returns the exit code.

    The command to continue omits --force, which would delete the finished records.
    """
    print(f"\ninterrupted: {kept}. To continue: {this_command(without='--force')}", file=sys.stderr)
    return INTERRUPTED


def this_command(without: str = "") -> str:
    """The command line of this process, without one of its options."""
    arguments = [argument for argument in sys.argv[1:] if argument != without]
    if os.environ.get("NOX_CURRENT_SESSION") == "reproduce":
        options = arguments[1:]
        return shlex.join(["nox", "-s", "reproduce", *(["--", *options] if options else [])])
    return shlex.join(["subspace-bench", *arguments])
