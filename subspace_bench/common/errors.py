"""What a user can cause: shown as one line, exit code 2, no traceback."""

from __future__ import annotations

import errno


class UserError(Exception):
    """What is wrong and what to do about it, in one line."""


class Unwritable(UserError):
    """A place that takes no files, or no more of them: no run's record could be kept there."""


def describe_os_error(failure: OSError) -> str:
    """A failure of the system, such as a full disk, in one line that says what to do."""
    what = failure.strerror or str(failure)
    where = f"{failure.filename}: " if failure.filename else ""
    if failure.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}{what}: free some space, or choose another place with --out"
    return f"{where}{what}"
