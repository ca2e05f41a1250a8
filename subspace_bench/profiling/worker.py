"""A process that measures cells, so that one that fails or is killed takes nothing along."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import Any

from subspace_bench.common.errors import UserError
from subspace_bench.profiling.timing import Case, measure, release

CONTEXT = multiprocessing.get_context("spawn")
LEAST, MORE = 180.0, 60.0  # seconds that a cell may take, and more for each GB of P


def limit(case: Case) -> float:
    """Seconds that a cell may take: the more, the more there is to make."""
    return LEAST + MORE * case.footprint.resident_bytes / 1e9


class Bench:
    """The process, made again when it was lost."""

    def __init__(self) -> None:
        self.process: Any = None
        self.pipe: Connection | None = None

    def measure(self, case: Case, repeat: int, threads: int, seconds: float) -> dict[str, Any]:
        """What a cell comes to in so many seconds; "status" is ok as soon as its times are known.

        A cell whose time ends in the distortion and coherence keeps what was measured before.
        """
        if self.process is None or not self.process.is_alive():
            self.start()
        assert self.pipe is not None
        found: dict[str, Any] = {"status": f"not measured: longer than {seconds:.0f} s"}
        end = time.monotonic() + seconds
        self.pipe.send((case, repeat, threads))
        try:
            while self.pipe.poll(max(0.0, end - time.monotonic())):
                part, done = self.pipe.recv()
                found |= part
                if done:
                    return found
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode
            if found["status"] != "ok":
                found["status"] = f"failed: its process ended with code {code}, out of memory?"
        self.close()
        return found

    def start(self) -> None:
        self.pipe, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None


def serve(pipe: Connection) -> None:
    """The life of a measuring process: (what is known of a cell, whether that is all) each time."""
    try:
        while True:
            case, repeat, threads = pipe.recv()
            done: dict[str, Any] = {}
            try:
                for part in measure(case, repeat, threads):
                    done = {"status": "ok"}
                    pipe.send(({**done, **part}, False))
                release(case.device)
            except Exception as failure:
                said = reason(failure)
                done = {**done, "lost": said} if done else {"status": f"failed: {said}"}
            pipe.send((done, True))
    except (EOFError, OSError, KeyboardInterrupt):
        return


def reason(failure: Exception) -> str:
    """A failure in one line."""
    if isinstance(failure, UserError):
        return str(failure)
    return f"{type(failure).__name__}: {(str(failure).splitlines() or [''])[0]}"
