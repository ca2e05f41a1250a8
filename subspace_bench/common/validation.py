"""Validates input before training. Each function raises a one-line UserError."""

from __future__ import annotations

import math
import numbers
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from subspace_bench.common.errors import UserError
from subspace_bench.common.files import write_atomically
from subspace_bench.common.formatting import format_bytes
from subspace_bench.common.interruption import uninterrupted

LARGEST = 2**31 - 1  # bound on numbers that have no smaller one


def require_choice(kind: str, given: Iterable[str], choices: Iterable[str]) -> None:
    """Every given name must be one of the choices."""
    choices = list(choices)
    for name in given:
        if name not in choices:
            raise UserError(f"unknown {kind} {name!r}: choose among {', '.join(choices)}")


def require_distinct(kind: str, given: Iterable[str]) -> None:
    """No name may be given twice."""
    seen = set()
    for name in given:
        if name in seen:
            raise UserError(f"two {kind}s are named {name!r}: give each its own name")
        seen.add(name)


def require_numbers(**given: object) -> None:
    """Every argument must be a real number; None passes. The keyword names the option."""
    for name, number in given.items():
        if isinstance(number, int):
            if abs(number) > sys.float_info.max:
                raise UserError(f"--{name} is {number}: it must be {sys.float_info.max:g} or less")
        elif number is not None and not isinstance(number, numbers.Real):
            raise UserError(f"--{name} is a {type(number).__name__}: it must be a number")


def require_at_least(least: float, most: float = LARGEST, **given: float | None) -> None:
    """Every number must be from `least` to `most`; None passes. The keyword names the option."""
    require_numbers(**given)
    for name, number in given.items():
        if number is not None and not number >= least:  # true for NaN
            raise UserError(f"--{name} is {number}: it must be {least} or more")
        if number is not None and number > most:
            raise UserError(f"--{name} is {number}: it must be {most} or less")


def require_positive(**given: float | None) -> None:
    """Every number must be above 0 and finite; None passes. The keyword names the option."""
    require_numbers(**given)
    for name, number in given.items():
        if number is not None and not 0 < number < math.inf:
            raise UserError(f"--{name} is {number}: it must be more than 0, and finite")


def require_fraction(**given: float) -> None:
    """Every number must lie strictly between 0 and 1. The keyword names the option."""
    require_numbers(**given)
    for name, number in given.items():
        if not 0 < number < 1:
            raise UserError(f"--{name} is {number}: it must lie between 0 and 1")


def resolve_device(name: str) -> str:
    """ "auto", "cpu" or "cuda" → "cpu" or "cuda"."""
    require_choice("device", [name], ("auto", "cpu", "cuda"))
    if name == "cpu":
        return name
    import torch  # imported here because it takes a second

    if torch.cuda.is_available():
        return "cuda"
    if name == "cuda":
        raise UserError("PyTorch finds no usable CUDA device: take --device cpu")
    return "cpu"


def check_output_dir(folder: Path, needed: float = 0.0, option: str = "--out") -> None:
    """The folder (or its closest existing parent) must be writable with `needed` bytes free."""
    parent = folder.absolute()
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise UserError(f"cannot write {folder}: choose another folder with {option}")
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise UserError(
            f"{folder} has {format_bytes(free)} free, but {format_bytes(needed)} are needed: "
            f"free some space, or choose another folder with {option}"
        )


def check_output_file(path: Path, option: str) -> None:
    """The file must be writable, or its folder if there is no such file yet."""
    check_output_dir(path.parent, option=option)
    if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
        raise UserError(f"{option} is {path}, which is not a writable file: choose another path")


def check_writable(folder: Path) -> None:
    """Writes and deletes a file in the folder, which is created if missing.

    Raises:
        Unwritable: (a UserError) that failed.
    """
    probe = folder / ".probe"
    with uninterrupted():
        write_atomically(probe, "")
        probe.unlink(missing_ok=True)
