"""Bad input, found before anything is trained: each check raises a UserError of one line."""

from __future__ import annotations

import errno
import math
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from subspace_bench.errors import UserError
from subspace_bench.machine import available_memory
from subspace_bench.runs import Run, write_atomically
from subspace_bench.terminal import size


def known(kind: str, given: Iterable[str], choices: Iterable[str]) -> None:
    """Every given name is one of the choices."""
    choices = list(choices)
    for name in given:
        if name not in choices:
            raise UserError(f"unknown {kind} {name!r}: choose among {', '.join(choices)}")


def at_least(least: float, **numbers: float | None) -> None:
    """Every number given is a number not below `least`; the keyword names its option."""
    for name, number in numbers.items():
        if number is not None and (math.isnan(number) or number < least):
            raise UserError(f"--{name} is {number}: it must be {least} or more")


def positive(**numbers: float | None) -> None:
    """Every number given is above 0 and finite; the keyword names its option."""
    for name, number in numbers.items():
        if number is not None and not 0 < number < math.inf:
            raise UserError(f"--{name} is {number}: it must be more than 0, and finite")


def share(**numbers: float) -> None:
    """Every number given lies between 0 and 1, ends excluded; the keyword names its option."""
    for name, number in numbers.items():
        if not 0 < number < 1:
            raise UserError(f"--{name} is {number}: it must lie between 0 and 1")


def device(name: str) -> str:
    """The device that "auto", "cpu" or "cuda" means here."""
    known("device", [name], ("auto", "cpu", "cuda"))
    if name == "cpu":
        return name
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if name == "cuda":
        raise UserError("there is no CUDA device that this PyTorch can use: take --device cpu")
    return "cpu"


def place(folder: Path, needed: float = 0.0, option: str = "--out") -> None:
    """The folder, or where it would be made, can be written and has `needed` bytes free."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"cannot write {folder}: choose another place with {option}")
    free = shutil.disk_usage(there).free
    if free < needed:
        raise UserError(
            f"{folder} has {size(free)} free and {size(needed)} are needed: "
            f"free some, or choose another place with {option}"
        )


def writable(folder: Path) -> None:
    """A file can really be written in the folder, which is made."""
    probe = folder / ".probe"
    write_atomically(probe, "")
    probe.unlink(missing_ok=True)


def trainable(run: Run) -> None:
    """The run's choices exist and fit each other, and its memory is there."""
    from subspace_bench import models, projectors
    from subspace_bench.cost import estimate
    from subspace_bench.streams import generator

    net = models.build(run.model)
    try:
        models.initialise(net, run.init, generator(run.seed, "init"))
    except ValueError as failure:
        raise UserError(f"--init {run.init}: {failure}") from failure
    native = models.parameter_count(net)
    if run.dim is not None and not 1 <= run.dim <= native:
        raise UserError(
            f"{run.model} has {native:,} parameters: "
            f"--dim is from 1 to {native}, or left out to train them all, not {run.dim}"
        )
    if run.dim is not None and run.origin == "zero":
        if "first" not in projectors.load(run.projector or "").accepts:
            raise UserError(
                f"origin zero needs a projector whose first column can be chosen, which "
                f"{run.projector!r} is not: take --origin init, or --projector orthonormal"
            )
        if not any(p.any() for p in net.parameters()):
            raise UserError(
                f"--init {run.init} makes θ_init zero, no direction for P's first column: "
                "take another --init, or --origin init"
            )
    needed, free = estimate(run).memory, available_memory()
    if needed > free:
        raise UserError(
            f"{run.label} takes about {size(needed)} of memory and {size(free)} are free: "
            "take a smaller --dim, or a projector that stores less"
        )


def describe_os_error(failure: OSError) -> str:
    """A failure of the system, such as a full disk, in one line that says what to do."""
    what = failure.strerror or str(failure)
    where = f"{failure.filename}: " if failure.filename else ""
    if failure.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}{what}: free some space, or choose another place with --out"
    return f"{where}{what}"
