"""Cores and memory of this machine, and the memory that this process uses.

psutil describes the machine and the process. System files give the limits of containers (Linux
control groups) and a resettable peak.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import os
import resource
import sys
from pathlib import Path

import psutil

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")  # Linux
CGROUPS = Path("/sys/fs/cgroup")  # Linux, version 2: limits of containers and job queues


def core_count() -> int:
    """Cores this process may use, given its affinity and the quota of its container."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    for group in _cgroups():
        with contextlib.suppress(OSError, ValueError):
            quota, period = (group / "cpu.max").read_text().split()  # the quota may be "max"
            cores = min(cores, max(1, math.ceil(int(quota) / int(period))))
    return cores


def available_memory() -> float:
    """Bytes that can still be allocated on this machine or within its container."""
    return min([float(psutil.virtual_memory().available), *map(_unused, _cgroups())])


def _unused(group: Path) -> float:
    """Bytes up to a control group's limit; cached files do not count, as they can be evicted."""
    try:
        limit = int((group / "memory.max").read_text())  # "max" means no limit
        used = int((group / "memory.current").read_text())
        stat = (line.split() for line in (group / "memory.stat").read_text().splitlines())
        return float(limit - used + int(dict(stat)["inactive_file"]))
    except (OSError, ValueError, KeyError):
        return float("inf")


@functools.cache
def _cgroups() -> list[Path]:
    """The folders of this process's control group and of those above it."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        inner = next(line.removeprefix("0::/") for line in lines if line.startswith("0::/"))
    except (OSError, StopIteration):
        return []
    folder = CGROUPS / inner
    return [folder, *(parent for parent in folder.parents if CGROUPS in (parent, *parent.parents))]


def last_level_cache() -> int:
    """Bytes of the processor's largest cache; 0 if unknown."""
    sizes = [0]
    for path in CACHES.glob("index*/size"):
        with contextlib.suppress(OSError, ValueError):
            text = path.read_text().strip()
            sizes.append(int(text.rstrip("KM")) << {"K": 10, "M": 20}.get(text[-1], 0))
    return max(sizes)


def reset_peak_memory() -> None:
    """Resets `peak_memory` on Linux, because a worker process trains many runs."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """Peak memory of this process in bytes; on Linux, since `reset_peak_memory`."""
    # ru_maxrss cannot be reset, and psutil has no resettable peak either.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident_memory() -> int:
    """Resident memory of this process in bytes."""
    return int(psutil.Process().memory_info().rss)


def release_free_memory() -> None:
    """Returns to the system the freed memory that glibc keeps for reuse."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
