"""Standard output and error of a command, whatever they are connected to.

A terminal may lack Greek letters, the reader of a pipe may exit as `head` does, a disk may be full,
a caller may have closed the stream: none of these ends a training.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TextIO, cast

CLOSED = (errno.EPIPE, errno.EIO)  # the reader of a pipe has exited; a terminal is gone


class _Output(io.FileIO):
    """A file descriptor that, once it cannot be written, discards what is written.

    Attributes:
        failure: why it could not be written, or None.
    """

    failure: OSError | None = None

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as failure:
            self.failure = failure
            # Also for workers that inherit it, and at the interpreter's exit.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            return super().write(data)  # type: ignore[arg-type]


def protect_streams() -> None:
    """Replaces `sys.stdout` and `sys.stderr` by streams that never raise when written.

    Characters that the encoding lacks become "?".
    """
    # Closed ones first: the next file to be opened would take their place.
    while (null := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(null, True)
    os.close(null)
    sys.stdout = _protect(sys.stdout, 1)
    sys.stderr = _protect(sys.stderr, 2)


def _protect(stream: TextIO | None, descriptor: int) -> TextIO:
    if isinstance(stream, io.TextIOWrapper) and os.name == "nt":  # its terminals are not files
        stream.reconfigure(errors="replace")
        return stream
    encoding, line_buffering, unbuffered = "utf-8", False, False
    if isinstance(stream, io.TextIOWrapper):
        stream.flush()
        encoding, line_buffering = stream.encoding, stream.line_buffering
        unbuffered = stream.write_through
    output = _Output(descriptor, "w", closefd=False)
    return io.TextIOWrapper(
        cast("io.BufferedWriter", output) if unbuffered else io.BufferedWriter(output),
        encoding=encoding,
        errors="replace",
        line_buffering=line_buffering,
        write_through=unbuffered,
    )


def output_failure() -> OSError | None:
    """Why output was lost, such as a full disk; None if it was not, or nobody was left to read."""
    if not isinstance(sys.stdout, io.TextIOWrapper):
        return None
    sys.stdout.flush()
    raw = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
    failure = raw.failure if isinstance(raw, _Output) else None
    return None if failure is None or failure.errno in CLOSED else failure
