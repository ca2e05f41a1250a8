"""Provenance of a record: time, memory, versions, hardware, revision. No comparison reads it."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from subspace_bench import __version__
from subspace_bench.common.hardware import peak_memory
from subspace_bench.common.source_digests import package_digest
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


version = functools.cache(metadata.version)  # it parses a package's metadata, 5 ms each time


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
    """What identifies the package's code, when this is first called.

    `revision` and `dirty`: the git revision, and whether the package differs from it; None unless
    git tracks the package, as when it is installed in the folder of another project.
    `sources_sha256`: `sources.package_digest`.
    """
    here = Path(__file__).parents[1]
    # A git hook sets variables that would name its own repository.
    variables = {name: v for name, v in os.environ.items() if not name.startswith("GIT_")}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        run = functools.partial(subprocess.run, capture_output=True, text=True, check=True)
        return str(run(command, env=variables).stdout.strip())

    code: dict[str, Any] = {"revision": None, "dirty": None, "sources_sha256": package_digest()}
    with contextlib.suppress(OSError, ValueError, subprocess.CalledProcessError):
        git("ls-files", "--error-unmatch", "--", str(Path(__file__)))
        dirty = bool(git("status", "--porcelain", "--", str(here)))
        code |= {"revision": git("rev-parse", "HEAD"), "dirty": dirty}
    return code
