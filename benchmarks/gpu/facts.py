"""What the numbers depend on: the device, its driver, versions, and the sources."""

from __future__ import annotations

import importlib
import platform
import shutil
import subprocess
from importlib import metadata
from typing import Any

from benchmarks.gpu.archive import sources_digest

PACKAGES = ("torch", "triton", "numba", "numpy", "subspace-bench")
QUERY = ("name", "driver_version", "clocks.max.sm", "clocks.max.mem", "power.limit")


def collect(device: str, dry: bool) -> dict[str, Any]:
    """The facts; of a GPU as `nvidia-smi` tells them, or its name as PyTorch does."""
    gpu = ask_driver() or {"gpu": torch_name()} if device == "cuda" else {}
    return {
        "device": device,
        "dry": dry,
        "sources": sources_digest(),
        "python": platform.python_version(),
        **{name: installed(name) for name in PACKAGES},
        **gpu,
    }


def installed(package: str) -> str:
    """The version of a package; "" if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def torch_name() -> str:
    """PyTorch's name of the GPU."""
    torch = importlib.import_module("torch")
    return str(torch.cuda.get_device_name())


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
