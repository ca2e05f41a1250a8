"""Runs a campaign in a fork of this process, which has imported and compiled everything."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import asdict
from pathlib import Path

from benchmarks.torture import tiny
from benchmarks.torture.campaigns import Campaign, Row, Setting

_warm = False


def run(campaign: Campaign, short: bool, seed: int) -> list[Row]:
    """The rows of a campaign; if it crashes or hangs, the last one says so."""
    global _warm
    if not _warm:
        _warm = True
        tiny.warm_up()
    work = Path(tempfile.mkdtemp(prefix=f"torture-{campaign.name}-"))
    log, began = work / "rows", time.monotonic()
    print(f"{campaign.name}: {campaign.about}", flush=True)
    pid = os.fork()
    if pid == 0:
        _carry_out(campaign, Setting(short, work / "files", seed), log)
    failure = _wait(pid, 60 * campaign.minutes)
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    rows = [Row(**json.loads(line)) for line in lines]
    if failure:
        rows.append(Row(f"the campaign itself {failure}", 1, [failure]))
    seconds = time.monotonic() - began
    for row in rows:
        print(f"  {row.tried}: {row.times:,}, {len(row.wrong)} wrong; {row.measured}", flush=True)
    print(f"  {seconds:.0f} s", flush=True)
    shutil.rmtree(work, ignore_errors=True)
    return rows


def _carry_out(campaign: Campaign, setting: Setting, log: Path) -> None:
    """In the fork: writes a line for each row, and ends the process."""
    code = 1
    try:
        os.setpgid(0, 0)
        setting.work.mkdir()
        with log.open("w", encoding="utf-8") as file:
            for row in campaign.rows(setting):
                print(json.dumps(asdict(row)), file=file, flush=True)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(pid: int, seconds: float) -> str:
    """Waits for the fork; why it failed, or an empty string."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return "crashed" if os.waitstatus_to_exitcode(status) else ""
        time.sleep(0.1)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return f"took longer than {seconds / 60:.0f} minutes"
