"""What this machine has, and what this process has taken of it: cores, and bytes of memory."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import os
import resource
import sys
from pathlib import Path

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")  # of Linux
CGROUPS = Path("/sys/fs/cgroup")  # of Linux, version 2: where containers and job queues set limits


def core_count() -> int:
    """Cores that this process may use, by its affinity and by the quota of a container."""
    here = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        here = len(os.sched_getaffinity(0))
    for group in _cgroups():
        with contextlib.suppress(OSError, ValueError):
            quota, period = (group / "cpu.max").read_text().split()  # the quota may be "max"
            here = min(here, max(1, math.ceil(int(quota) / int(period))))
    return here


def available_memory() -> float:
    """Bytes that this machine, or the container, can still give; infinite where none tells."""
    return min([_free_memory(), *map(_free_of, _cgroups())])


def _free_memory() -> float:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return float("inf")


def _free_of(group: Path) -> float:
    """Bytes that a cgroup leaves; files that it has read give way."""
    try:
        most = int((group / "memory.max").read_text())  # "max" where there is no limit
        used = int((group / "memory.current").read_text())
        stat = (line.split() for line in (group / "memory.stat").read_text().splitlines())
        return float(most - used + int(dict(stat)["inactive_file"]))
    except (OSError, ValueError, KeyError):
        return float("inf")


@functools.cache
def _cgroups() -> list[Path]:
    """The folders of this process's cgroup and of those above it."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        inner = next(line.removeprefix("0::/") for line in lines if line.startswith("0::/"))
    except (OSError, StopIteration):
        return []
    folder = CGROUPS / inner
    return [folder, *(parent for parent in folder.parents if CGROUPS in (parent, *parent.parents))]


def last_level_cache() -> int:
    """Bytes of the processor's largest cache; 0 where the system does not tell."""
    sizes = [0]
    for path in CACHES.glob("index*/size"):
        with contextlib.suppress(OSError, ValueError):
            text = path.read_text().strip()
            sizes.append(int(text.rstrip("KM")) << {"K": 10, "M": 20}.get(text[-1], 0))
    return max(sizes)


def reset_peak_memory() -> None:
    """Starts the peak anew, where the system can (Linux); a worker carries out many runs."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """Bytes this process held at most, since `reset_peak_memory` where that works."""
    peak = _status("VmHWM")
    if peak is None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return peak


def resident_memory() -> int:
    """Bytes this process holds now; where the system does not tell, what it held at most."""
    now = _status("VmRSS")
    return peak_memory() if now is None else now


def release_free_memory() -> None:
    """Gives memory back that was freed but is kept for reuse, where the C library can (glibc)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _status(field: str) -> int | None:
    """Bytes in a field of Linux's /proc/self/status; None on other systems."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None
