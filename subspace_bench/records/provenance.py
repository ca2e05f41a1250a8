"""Provenance of a record: time, memory, versions, hardware, revision. No comparison reads it."""

from __future__ import annotations

import functools
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from subspace_bench import __version__
from subspace_bench.common.hardware import peak_memory
from subspace_bench.datasets.dataset import Dataset
from subspace_bench.records.config import RunConfig

# The facts that determine the bits of a result on a CPU.
DECIDING = ("cpu", "cpu_capability", "python", "torch", "numpy", "numba")


def collect(run: RunConfig, dataset: Dataset, set_up: float, training: float) -> dict[str, Any]:
    """The provenance of a run just trained here, in seconds and megabytes (10⁶ bytes)."""
    facts: dict[str, Any] = {
        "seconds_set_up": round(set_up, 2),
        "seconds_training": round(training, 2),
        "peak_memory_mb": round(peak_memory() / 1e6),
        **machine(run.device),
        **revision(),
        "data_sha256": dataset.digest,
    }
    if run.device == "cuda":
        facts["peak_device_memory_mb"] = round(torch.cuda.max_memory_allocated() / 1e6)
    return facts


def machine(device: str = "cpu") -> dict[str, Any]:
    """Hardware and versions that bits and timings depend on."""
    facts: dict[str, Any] = {
        "cpu": cpu_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy", "numba")},
        "subspace-bench": __version__,
    }
    if device == "cuda":
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def same_hardware(facts: Mapping[str, Any], device: str = "cpu") -> bool:
    """Whether results here should have the same bits as on the machine of these facts."""
    here = machine(device)
    names = (*DECIDING, "gpu") if device == "cuda" else DECIDING
    return all(facts.get(name) == here[name] for name in names)


@functools.cache
def cpu_name() -> str:
    """The processor's model name; virtual machines may hide its generation."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@functools.cache
def revision() -> dict[str, Any]:
    """The package's git revision, and whether its files differ from it; None outside git."""
    here = Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        head = git("rev-parse", "HEAD")
        return {"revision": head, "dirty": bool(git("status", "--porcelain", "--", str(here)))}
    except (OSError, subprocess.CalledProcessError):
        return {"revision": None, "dirty": None}
