"""A stage whose items end in every way, for tests: `python gpu_stage.py FOLDER SECONDS`."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from pathlib import Path

from benchmarks.gpu.stages import Item, Setting, Stage
from benchmarks.gpu.worker import work


def fail() -> dict[str, object]:
    raise ValueError("first line\nsecond line")


def miss() -> dict[str, object]:
    importlib.import_module("no_such_package")
    return {}


def die() -> dict[str, object]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def hang() -> dict[str, object]:
    time.sleep(60)
    return {}


class EveryEnding(Stage):
    """Its items succeed, fail, lack a package, kill the process, hang, and succeed."""

    def items(self, setting: Setting) -> list[Item]:
        return [
            Item("first", lambda: {"value": 1.5}),
            Item("fails", fail),
            Item("misses", miss),
            Item("dies", die),
            Item("hangs", hang, limit=0.5),
            Item("does not fit", lambda: {"status": "does not fit: needs 1 TB"}),
            Item("last", lambda: {"value": 2.5}),
        ]


STAGE = EveryEnding("every-ending", 1, "every ending")

if __name__ == "__main__":
    sys.exit(work(STAGE, Setting("cpu", True, Path(sys.argv[1])), float(sys.argv[2])))
