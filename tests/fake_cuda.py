"""Runs stages of benchmarks.gpu dry: `python fake_cuda.py FOLDER`, into FOLDER/cpu and FOLDER/cuda.

First all of them on the CPU. Then those of FAKED with `--device cuda`, on the CPU all the same:
every tensor that is asked for on "cuda" is made on the CPU, and stand-ins replace `torch.cuda`. So
the branches for CUDA run, which a device must not be the first to do; where Triton is installed,
with its kernels, interpreted. What streams and graphs really do is not covered.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from benchmarks.gpu import correctness, projectors, worker
from benchmarks.gpu.stages import STAGES, Setting
from subspace_bench.profiling import timing
from subspace_bench.projectors import fastfood, hashed, sparse, srht


def on_cpu(value: Any) -> Any:
    """Gives "cpu" for "cuda", as a string or a device; anything else as it is."""
    if isinstance(value, torch.device):
        return torch.device("cpu") if value.type == "cuda" else value
    return "cpu" if isinstance(value, str) and value.startswith("cuda") else value


FAKED = ["ceilings", "correctness", "projectors", "steps", "tables", "peers"]


class OnCpu(TorchFunctionMode):
    """Replaces "cuda" among the arguments of every function of PyTorch."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = {name: on_cpu(value) for name, value in (kwargs or {}).items()}
        return func(*map(on_cpu, args), **kwargs)


class Event:
    """Marks a time."""

    def __init__(self, enable_timing: bool = False) -> None:
        assert enable_timing

    def record(self) -> None:
        self.time = time.perf_counter()

    def synchronize(self) -> None:
        assert self.time

    def elapsed_time(self, end: Event) -> float:
        return 1e3 * (end.time - self.time)


class Stream:
    def wait_stream(self, other: Stream) -> None:
        assert isinstance(other, Stream)

    def synchronize(self) -> None:
        pass


class Graph:
    """A graph whose replay does nothing."""

    def replay(self) -> None:
        pass

    def reset(self) -> None:
        pass


class Properties:
    name, major, minor, multi_processor_count = "Fake GPU", 9, 0, 132
    total_memory, L2_cache_size = 80 << 30, 1 << 20


def install() -> None:
    """Replaces what the benchmarks use of `torch.cuda`."""
    replaced: dict[str, Any] = {
        "Event": Event,
        "Stream": Stream,
        "CUDAGraph": Graph,
        "current_stream": Stream,
        "stream": lambda stream: contextlib.nullcontext(),
        "graph": lambda graph: contextlib.nullcontext(),
        "synchronize": lambda: None,
        "empty_cache": lambda: None,
        "get_device_properties": lambda *device: Properties(),
        "get_device_name": lambda: Properties.name,
        "mem_get_info": lambda: (70 << 30, 80 << 30),
        "memory_allocated": lambda: 0,
        "max_memory_allocated": lambda: 0,
        "reset_peak_memory_stats": lambda: None,
        "set_sync_debug_mode": lambda mode: None,
    }
    correctness.WHOLE.pop("Subspace in torch.compile")  # nothing to compile for
    for name, stand_in in replaced.items():
        assert hasattr(torch.cuda, name)
        setattr(torch.cuda, name, stand_in)


def check_with_triton() -> None:
    """Compares projectors that take Triton's kernels, as on a device, with the CPU in float64."""
    kernels = "subspace_bench.kernels.triton"
    for module in (sparse, srht):
        found = importlib.import_module(f"{kernels}.{module.__name__.rpartition('.')[2]}")
        module._triton_kernels = lambda vectors, found=found: found
    fastfood._on_triton = hashed.Hashed._uses_triton_kernel = staticmethod(is_float32)
    fastfood.Fastfood._has_fused_kernels = lambda self, vector: False
    correctness.BOUNDS = {"float32": correctness.BOUNDS["float32"]}
    for name in ("sparse", "srht", "fastfood-layers", "hashed"):
        values = correctness.compare(name, correctness.DRY_SIZES[0], "cuda")
        assert "status" not in values, (name, values)


def is_float32(x: torch.Tensor) -> bool:
    return x.dtype == torch.float32


def run(device: str, names: list[str], folder: Path) -> None:
    """Runs stages dry; prints the CPU time of each."""
    for name in names:
        before = time.process_time()
        worker.work(STAGES[name], Setting(device, True, folder / device), 300.0)
        print(f"{name} on {device}: {time.process_time() - before:.1f} s", flush=True)


if __name__ == "__main__":  # one process, as imports take most of the time
    torch.set_num_threads(1)
    projectors.core_count = lambda: 1
    timing.LONG_ENOUGH = dict.fromkeys(timing.LONG_ENOUGH, 0.0)  # a few samples will do
    timing.allocate_ones = lambda count, device: torch.ones(1_000)  # instead of 1 GB
    run("cpu", list(STAGES), Path(sys.argv[1]))
    install()
    with OnCpu():
        run("cuda", FAKED, Path(sys.argv[1]))
        if find_spec("triton"):
            check_with_triton()
