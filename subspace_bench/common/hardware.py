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
import sys
from pathlib import Path

import psutil

if sys.platform != "win32":
    import resource

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")  # Linux
CGROUPS = Path("/sys/fs/cgroup")  # Linux: limits of containers and job queues
OWN_CGROUPS = Path("/proc/self/cgroup")


def core_count() -> int:
    """Cores this process may use, given its affinity and the quota of its container."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    for group in [*_cgroups(""), *_cgroups("cpu")]:
        with contextlib.suppress(OSError, ValueError):
            if (group / "cpu.max").exists():  # version 2; the quota may be "max"
                quota, period = (group / "cpu.max").read_text().split()
            else:
                quota = (group / "cpu.cfs_quota_us").read_text()
                period = (group / "cpu.cfs_period_us").read_text()
            if int(quota) > 0:  # version 1 has -1 for no quota
                cores = min(cores, max(1, math.ceil(int(quota) / int(period))))
    return cores


def available_memory() -> float:
    """Bytes that can still be allocated on this machine, within its container, and by a process
    with the address space limit of this one (`ulimit -v`).
    """
    groups = [*_cgroups(""), *_cgroups("memory")]
    limits = [float(psutil.virtual_memory().available), *map(_unused, groups)]
    if sys.platform != "win32":
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            limits.append(float(limit - psutil.Process().memory_info().vms))
    return max(0.0, min(limits))


def _unused(group: Path) -> float:
    """Bytes up to a control group's limit; cached files do not count, as they can be evicted."""
    for limit, used, cached in (
        ("memory.max", "memory.current", "inactive_file"),  # version 2
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),  # version 1
    ):
        with contextlib.suppress(OSError, ValueError, KeyError):
            bound = int((group / limit).read_text())  # "max" means no limit
            stat = (line.split() for line in (group / "memory.stat").read_text().splitlines())
            return float(bound - int((group / used).read_text()) + int(dict(stat)[cached]))
    return float("inf")


@functools.cache
def _cgroups(controller: str) -> list[Path]:
    """The folders of this process's control group and of those above it.

    Arguments:
        controller: "memory" or "cpu" for version 1, "" for version 2.
    """
    try:
        lines = [line.split(":", 2) for line in OWN_CGROUPS.read_text().splitlines()]
        inner = next(path for _, names, path in lines if controller in names.split(","))
    except (OSError, ValueError, StopIteration):
        return []
    # In a container, `inner` may be the path on the host, of which only the root is visible.
    root = CGROUPS / controller
    folder = root / inner.lstrip("/")
    return [folder, *(parent for parent in folder.parents if root in (parent, *parent.parents))]


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
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident_memory() -> int:
    """Resident memory of this process in bytes."""
    return int(psutil.Process().memory_info().rss)


def release_free_memory() -> None:
    """Returns to the system the freed memory that glibc keeps for reuse."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
