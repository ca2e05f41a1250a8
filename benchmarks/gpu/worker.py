"""Runs the items of one stage in a process of its own, which a fault of the device may kill.

python -m benchmarks.gpu.worker STAGE --device cuda --work FOLDER --seconds S [--dry]
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import traceback
from pathlib import Path

from benchmarks.gpu.archive import sources_digest
from benchmarks.gpu.log import Log
from benchmarks.gpu.stages import STAGES, Item, Setting, Stage, Values
from subspace_bench.common.errors import is_out_of_memory

RESTART = 75  # exit status: the device no longer answers this process


def work(stage: Stage, setting: Setting, seconds: float) -> int:
    """Runs the items that have no row yet, until the time is up; returns the exit status."""
    end = time.monotonic() + seconds
    log, sources = Log.read(setting.work / f"{stage.name}.jsonl"), sources_digest()
    try:
        items = stage.items(setting)
    except Exception as failure:
        log.write({"item": "import", "status": describe(failure), "seconds": 0.0})
        return 0
    log.write({"planned": [item.name for item in items]})
    for item in items:
        if item.name in log.rows:
            continue
        if time.monotonic() >= end:
            break
        log.start(item.name, item.limit)
        start = time.monotonic()
        values = outcome(item)
        took = round(time.monotonic() - start, 3)
        row = {"item": item.name, "status": "ok", "seconds": took, "sources": sources}
        log.write({**row, **values})
        if setting.device == "cuda" and not answers():
            return RESTART
    return 0


def outcome(item: Item) -> Values:
    """The item's values; if it fails, its status, and a traceback on the error output."""
    try:
        return item.run()
    except Exception as failure:
        if not isinstance(failure, ImportError):
            traceback.print_exc()
        return {"status": describe(failure)}


def describe(failure: Exception) -> str:
    """A failure as a status of one line."""
    kind = "left out" if isinstance(failure, ImportError) else "failed"
    if is_out_of_memory(failure):
        kind = "does not fit"
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()] or [""]
    name = "" if isinstance(failure, ImportError) else f"{type(failure).__name__}: "
    return f"{kind}: {name}{lines[0]}"[:300]


def answers() -> bool:
    """Whether the device still works in this process; after an illegal access it does not."""
    torch = importlib.import_module("torch")
    try:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    except RuntimeError:
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("stage", choices=list(STAGES))
    parser.add_argument("--device", choices=["cuda", "cpu"], required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--dry", action="store_true")
    options = parser.parse_args()
    setting = Setting(options.device, options.dry, options.work)
    return work(STAGES[options.stage], setting, options.seconds)


if __name__ == "__main__":
    sys.exit(main())
