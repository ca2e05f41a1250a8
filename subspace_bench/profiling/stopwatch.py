"""Times calls on a device: by CUDA events, in replays of a CUDA graph, or by the wall clock.

A GPU runs behind the host, so a call there has three times:

- on the device, by CUDA events, after the L2 cache was overwritten: what a stream over memory
  takes. The host launches the call while the device is still overwriting, so that the time to
  launch a few kernels does not count.
- in a graph of up to GRAPH_CALLS calls, replayed as a whole: no launches, and warm caches.
- on the host, from the call until the device is idle, which includes all launches.

On a CPU all three are the wall clock's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

Call = Callable[[], Any]
GRAPH_CALLS = 100
GRAPH_SECONDS = 0.02  # a replay need not take longer
WARM_UPS = 3
UNKNOWN_CACHE = 64 << 20  # bytes overwritten where the device does not tell the size of its cache


def synchronize(device: str) -> None:
    """Waits for the GPU to finish; its calls return early."""
    if device == "cuda":
        torch.cuda.synchronize()


def cache_bytes() -> int:
    """Bytes of the GPU's L2 cache; 0 if unknown."""
    return int(getattr(torch.cuda.get_device_properties(), "L2_cache_size", 0))


class Stopwatch:
    """Measures calls on "cpu" or "cuda"; every method returns seconds per call.

    Arguments:
        cold: whether `device_seconds` overwrites the L2 cache before each call.
    """

    def __init__(self, device: str, cold: bool = True) -> None:
        self.device = device
        self._scratch: torch.Tensor | None = None
        if device == "cuda" and cold:
            size = 4 * (cache_bytes() or UNKNOWN_CACHE)
            self._scratch = torch.empty(size, dtype=torch.uint8, device=device)

    def host_seconds(self, call: Call) -> float:
        """From the call until the device is idle."""
        synchronize(self.device)
        start = time.perf_counter()
        call()
        synchronize(self.device)
        return time.perf_counter() - start

    def device_seconds(self, call: Call) -> float:
        """Between CUDA events around the call; a call that waits for the device counts the wait."""
        if self.device != "cuda":
            return self.host_seconds(call)
        start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        if self._scratch is not None:
            self._scratch.zero_()
        start.record()
        call()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3

    def launch_seconds(self, call: Call, calls: int = GRAPH_CALLS) -> float:
        """The host's time to launch a call, without waiting for the device."""
        synchronize(self.device)
        start = time.perf_counter()
        for _ in range(calls):
            call()
        elapsed = time.perf_counter() - start
        synchronize(self.device)
        return elapsed / calls

    def graph_seconds(self, call: Call, repeat: int) -> list[float]:
        """`repeat` replays of a graph of several calls.

        Raises:
            RuntimeError: the call cannot be recorded, for example because it waits for the device.
        """
        seconds = self.device_seconds(call)
        calls = max(1, min(GRAPH_CALLS, int(GRAPH_SECONDS / max(seconds, 1e-9))))
        with recorded(call, calls, self.device) as replay:
            warm = Stopwatch(self.device, cold=False)
            return [warm.device_seconds(replay) / calls for _ in range(WARM_UPS + repeat)][
                WARM_UPS:
            ]


@contextmanager
def recorded(call: Call, calls: int, device: str) -> Iterator[Call]:
    """A function that runs `calls` calls: a CUDA graph's replay, or a loop on a CPU.

    Arguments:
        call: reads and writes the same memory every time; what it returns is dropped.
    """
    if device != "cuda":

        def loop() -> None:
            for _ in range(calls):
                call()

        yield loop
        return
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # compiles, and lets libraries allocate their workspaces
        for _ in range(WARM_UPS):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            call()
    yield graph.replay
    torch.cuda.synchronize()
    graph.reset()


def quartiles(name: str, seconds: list[float]) -> dict[str, float]:
    """`<name>_ms`, the median in milliseconds, `_q25`, `_q75`, and `_n`, the number of samples."""
    low, median, high = np.percentile(np.array(seconds) * 1e3, (25, 50, 75)).tolist()
    count = len(seconds)
    return {f"{name}_ms": median, f"{name}_q25": low, f"{name}_q75": high, f"{name}_n": count}
