"""What a user can cause: shown as one line, exit code 2, no traceback."""


class UserError(Exception):
    """What is wrong and what to do about it, in one line."""


class Unwritable(UserError):
    """A place that takes no files, or no more of them: no run's record could be kept there."""
