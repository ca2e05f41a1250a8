"""The tests marked `cuda`, by pytest."""

from __future__ import annotations

import importlib
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from functools import partial

from benchmarks.gpu.archive import ROOT
from benchmarks.gpu.stages import Item, Setting, Values

SECONDS = 240.0
KEEP_GOING = "--continue-on-collection-errors"  # of modules that import what is missing
DRY_TEST = "tests/test_import_order.py"


def items(setting: Setting) -> list[Item]:
    """One item, as pytest runs them in one process."""
    return [Item("pytest -m cuda", partial(run_tests, setting), SECONDS)]


def run_tests(setting: Setting) -> Values:
    """How many passed and failed, and the names of those that failed; `tests.xml` has the rest."""
    importlib.import_module("pytest")
    report = setting.work / "tests.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-W",
        "default",
        KEEP_GOING,
        f"--junitxml={report}",
    ]
    command += ["--collect-only", DRY_TEST] if setting.dry else ["-m", "cuda"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(run.stdout[-3000:], file=sys.stderr)
    cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    failed = [case.get("name") or "" for case in cases
              if case.find("failure") is not None or case.find("error") is not None]  # fmt: skip
    skipped = sum(case.find("skipped") is not None for case in cases)
    found: Values = {"passed": len(cases) - len(failed) - skipped, "skipped": skipped}
    if run.returncode:
        found["status"] = f"failed: {len(failed)} tests: {', '.join(failed[:20])}"
    return found
