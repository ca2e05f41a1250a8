"""Bad input, found before anything is trained: each check raises a UserError of one line."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from subspace_bench.common.errors import UserError
from subspace_bench.common.files import write_atomically
from subspace_bench.common.formatting import format_bytes


def require_choice(kind: str, given: Iterable[str], choices: Iterable[str]) -> None:
    """Every given name is one of the choices."""
    choices = list(choices)
    for name in given:
        if name not in choices:
            raise UserError(f"unknown {kind} {name!r}: choose among {', '.join(choices)}")


def require_at_least(least: float, **numbers: float | None) -> None:
    """Every number given is a number not below `least`; the keyword names its option."""
    for name, number in numbers.items():
        if number is not None and (math.isnan(number) or number < least):
            raise UserError(f"--{name} is {number}: it must be {least} or more")


def require_positive(**numbers: float | None) -> None:
    """Every number given is above 0 and finite; the keyword names its option."""
    for name, number in numbers.items():
        if number is not None and not 0 < number < math.inf:
            raise UserError(f"--{name} is {number}: it must be more than 0, and finite")


def require_fraction(**numbers: float) -> None:
    """Every number given lies between 0 and 1, ends excluded; the keyword names its option."""
    for name, number in numbers.items():
        if not 0 < number < 1:
            raise UserError(f"--{name} is {number}: it must lie between 0 and 1")


def resolve_device(name: str) -> str:
    """The device that "auto", "cpu" or "cuda" means here."""
    require_choice("device", [name], ("auto", "cpu", "cuda"))
    if name == "cpu":
        return name
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if name == "cuda":
        raise UserError("there is no CUDA device that this PyTorch can use: take --device cpu")
    return "cpu"


def check_output_dir(folder: Path, needed: float = 0.0, option: str = "--out") -> None:
    """The folder, or where it would be made, can be written and has `needed` bytes free."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"cannot write {folder}: choose another place with {option}")
    free = shutil.disk_usage(there).free
    if free < needed:
        raise UserError(
            f"{folder} has {format_bytes(free)} free and {format_bytes(needed)} are needed: "
            f"free some, or choose another place with {option}"
        )


def check_writable(folder: Path) -> None:
    """A file can really be written in the folder, which is made."""
    probe = folder / ".probe"
    write_atomically(probe, "")
    probe.unlink(missing_ok=True)
