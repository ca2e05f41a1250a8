"""The one exception that a user can cause: shown as one line, exit code 2, no traceback."""


class UserError(Exception):
    """What is wrong and what to do about it, in one line."""
