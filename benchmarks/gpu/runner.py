"""Runs the stages one after the other, each in a process of its own, within its share of the time.

What is measured is in the archive within seconds, so that a machine may vanish at any moment.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.gpu.log import Log
from benchmarks.gpu.stages import STAGES, Setting, Stage
from benchmarks.gpu.worker import RESTART

ROOT = Path(__file__).parents[2]
POLL_SECONDS = 0.2
SAVE_SECONDS = 5.0  # between two archives while a stage runs
GRACE_SECONDS = 15.0  # that a running item may take beyond the end of its stage
PEERS, CLONES = (
    "SUBSPACE_BENCH_PEERS",
    ("intrinsic-dimensionality", "tight-pac-bayes"),
)  # as in benchmarks.peers
MOST_RESTARTS = 12  # of a stage's process, as the device may be gone for good
MOST_VAIN = 2  # of these, because the device was lost and nothing was measured
LEAST_SECONDS = 3.0  # with less time left, a stage is not started


def run_stages(
    stages: Sequence[Stage],
    setting: Setting,
    seconds: float,
    save: Callable[[], None],
    tell: Callable[[str], None] = lambda line: print(line, flush=True),
) -> None:
    """Runs the stages in order; each may use the share of the time left that is its own.

    Arguments:
        save: writes the archive; called after every stage and every few seconds in between.
        tell: prints a line.
    """
    end = time.monotonic() + seconds
    for i, stage in enumerate(stages):
        left = end - time.monotonic()
        if left < LEAST_SECONDS:
            tell(f"{stage.name}: not started, no time is left")
            continue
        share = left * stage.share / sum(later.share for later in stages[i:])
        start = time.monotonic()
        log = run_stage(stage, setting, share, save)
        save()
        tell(summary(log, stage, time.monotonic() - start))


def run_stage(stage: Stage, setting: Setting, seconds: float, save: Callable[[], None]) -> Log:
    """Runs a stage; starts its process again after an item that killed it or hung."""
    end, path = time.monotonic() + seconds, setting.work / f"{stage.name}.jsonl"
    log = Log.read(path)
    log.forget_unsuccessful()
    vain = 0  # processes in turn whose device stopped to answer before they measured anything
    for _ in range(MOST_RESTARTS):
        done = log.successes
        status = run_process(stage, setting, end, save)
        log = Log.read(path)
        vain = vain + 1 if status == "again" and log.successes == done else 0
        if vain == MOST_VAIN:
            log.write({"item": "process", "status": "failed: the device is gone"})
            return log
        if died := log.running:
            log.write({"item": died["item"], "status": status or "failed: the process ended"})
        elif status not in ("", "again"):
            log.write({"item": "process", "status": status})
            return log
        if not (status and died) and status != "again":
            return log
        if time.monotonic() + LEAST_SECONDS > end:
            break
    return log


def run_process(stage: Stage, setting: Setting, end: float, save: Callable[[], None]) -> str:
    """Runs a worker until it ends, an item exceeds its limit, or the time is up.

    Returns:
        "" if it ended well or the time is up between two items, "again" if it asks for a new
        process, else the status of the item that was running.
    """
    command = worker_command(stage, setting, end - time.monotonic())
    process = subprocess.Popen(command, cwd=ROOT, env=environment(setting), start_new_session=True)
    path = setting.work / f"{stage.name}.jsonl"
    saved = time.monotonic()
    try:
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            now, running = time.monotonic(), Log.read(path).running
            if running and time.time() - running["time"] > running["limit"]:
                return f"not measured: over {running['limit']:.0f} s"
            if now > end + GRACE_SECONDS:
                return "not measured: no time was left" if running else ""
            if now - saved > SAVE_SECONDS:
                save()
                saved = now
    finally:
        stop(process)
    if process.returncode == RESTART:
        return "again"
    return "" if process.returncode == 0 else f"failed: {ending(process.returncode)}"


def worker_command(stage: Stage, setting: Setting, seconds: float) -> list[str]:
    """The command of a worker."""
    command = [sys.executable, "-m", "benchmarks.gpu.worker", stage.name]
    command += ["--device", setting.device, "--work", str(setting.work)]
    return [*command, "--seconds", f"{seconds:.1f}", *(["--dry"] if setting.dry else [])]


def environment(setting: Setting) -> dict[str, str]:
    """The environment of a worker: this checkout first, then peers that are not installed;
    reproducible cuBLAS; Triton interpreted on a CPU."""
    peers = os.environ.get(PEERS)
    clones = [str(Path(peers) / name) for name in CLONES] if peers else []
    paths = [str(ROOT), *clones, *filter(None, [os.environ.get("PYTHONPATH")])]
    settings = {"PYTHONPATH": os.pathsep.join(paths), "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    if setting.device == "cpu":
        settings["TRITON_INTERPRET"] = "1"
    return {**os.environ, **settings}


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kills a worker and what it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def ending(code: int) -> str:
    """How a process ended that did not end well."""
    if code < 0:
        return f"the process died ({signal.Signals(-code).name})"
    return f"the process ended with status {code}"


def summary(log: Log, stage: Stage, seconds: float) -> str:
    """One line on a stage: how many items are done, failed, left out and left; then what failed or
    was left out, and why."""
    kinds = {"ok": "done", "failed": "failed", "left out": "left out", "not measured": "too slow",
             "does not fit": "too large"}  # fmt: skip
    counts = dict.fromkeys(kinds.values(), 0)
    for row in log.rows.values():
        counts[kinds.get(row["status"].partition(":")[0], "failed")] += 1
    counts["left"] = len(set(log.planned) - set(log.rows))
    parts = [f"{count} {kind}" for kind, count in counts.items() if count]
    reasons = [f"    {name}: {row['status']}" for name, row in log.rows.items()
               if row["status"].startswith(("failed", "left out"))]  # fmt: skip
    line = f"{stage.name} ({stage.about}): {', '.join(parts) or 'nothing'}; {seconds:.0f} s"
    return "\n".join([line, *reasons])


def chosen_stages(only: Sequence[str] | None, first: str | None) -> list[Stage]:
    """The stages in the order to run them: `only` these, or `first` this one."""
    if only:
        return [STAGES[name] for name in only]
    usual = [stage for stage in STAGES.values() if stage.usual or stage.name == first]
    return sorted(usual, key=lambda stage: stage.name != first)
