"""Runs the command line in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

TINY = ("train", "--model", "mlp-16", "--dataset", "mnist-5k", "--device", "cpu")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "subspace_bench", *arguments]


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(command(*arguments), capture_output=True, text=True, env=environment)
