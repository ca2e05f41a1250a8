"""Errors a user can cause: shown as one line, exit code 2, no traceback."""

from __future__ import annotations

import errno


class UserError(Exception):
    """What is wrong and what to do, in one line."""


class UnfitMachine(UserError):
    """A machine cannot carry out any run: it lacks the data, or the store, or has other versions.

    No further run starts; what is done is kept.
    """


class Unwritable(UnfitMachine):
    """A folder cannot be written or is full, so results cannot be stored."""


class Diverged(UserError):
    """A training has produced NaN."""


def describe_os_error(failure: OSError) -> str:
    """Describes an operating system error, such as a full disk, in one line with a remedy."""
    reason = failure.strerror or str(failure)
    file = f"{failure.filename}: " if failure.filename else ""
    if failure.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{file}{reason}: free some space, or choose another folder with --out"
    return f"{file}{reason}"


def is_out_of_memory(failure: BaseException) -> bool:
    """Whether memory could not be allocated: torch raises a RuntimeError on a CPU."""
    return (
        isinstance(failure, MemoryError)
        or type(failure).__name__ == "OutOfMemoryError"  # torch's on CUDA
        or "DefaultCPUAllocator" in str(failure)
    )


def describe_failure(failure: BaseException) -> str:
    """Describes an exception in one line."""
    if isinstance(failure, UserError):
        return str(failure)
    if is_out_of_memory(failure):
        return "out of memory: use fewer --jobs or a smaller d"
    first = (str(failure).splitlines() or [""])[0]
    return f"{type(failure).__name__}: {first}"
