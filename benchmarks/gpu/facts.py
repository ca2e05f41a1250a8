"""What the numbers depend on: the device, its driver, versions, and the sources."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib import metadata
from typing import Any

from benchmarks.gpu.archive import sources_digest

PACKAGES = ("torch", "triton", "numba", "numpy", "subspace-bench")
QUERY = ("name", "driver_version", "clocks.max.sm", "clocks.max.mem", "power.limit")


def collect(device: str, dry: bool) -> dict[str, Any]:
    """Facts that need no device to be found; `nvidia-smi` tells those of a GPU."""
    return {
        "device": device,
        "dry": dry,
        "sources": sources_digest(),
        "python": platform.python_version(),
        **{name: installed(name) for name in PACKAGES},
        **(ask_driver() if device == "cuda" else {}),
    }


def installed(package: str) -> str:
    """The version of a package; "" if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def ask_driver() -> dict[str, str]:
    """The answers of `nvidia-smi` for the first GPU; empty if it is not there."""
    command = ["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader"]
    if not shutil.which(command[0]):
        return {}
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    answers = found.stdout.splitlines()[0].split(",") if found.stdout else []
    return dict(zip(("gpu", *QUERY[1:]), (answer.strip() for answer in answers), strict=False))
