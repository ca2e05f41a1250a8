"""The device's limits, which the page compares times with: bandwidth, matrix products, launches."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.stages import Item, Setting, Values
from subspace_bench.profiling.stopwatch import GRAPH_CALLS, Stopwatch, cache_bytes, quartiles

SAMPLES = 15
STREAM_BYTES, SQUARE = 1 << 30, 8192  # far beyond any L2 cache; a matrix product at full speed
DRY_BYTES, DRY_SQUARE = 1 << 12, 16
PRECISIONS = {
    "GEMM float32": (torch.float32, False),
    "GEMM TF32": (torch.float32, True),
    "GEMM bfloat16": (torch.bfloat16, False),
    "GEMM float16": (torch.float16, False),
    "GEMM float64": (torch.float64, False),
}


def items(setting: Setting) -> list[Item]:
    """The device, bandwidths in GB/s, products in TFLOP/s, launches in microseconds."""
    return [
        Item("device", partial(describe_device, setting)),
        Item("copy", partial(bandwidth, setting, "copy")),
        Item("read", partial(bandwidth, setting, "read")),
        Item("write", partial(bandwidth, setting, "write")),
        *(Item(name, partial(products, setting, name)) for name in PRECISIONS),
        Item("launch", partial(launches, setting)),
    ]


def describe_device(setting: Setting) -> Values:
    """The device's properties; on a CPU only its name."""
    if setting.device != "cuda":
        return {"gpu": "none"}
    properties = torch.cuda.get_device_properties()
    return {
        "gpu": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_gb": round(properties.total_memory / 1e9, 1),
        "l2_mb": round(cache_bytes() / 1e6, 1),
        "cuda": torch.version.cuda,
    }


def samples(setting: Setting, call: Callable[[], Any]) -> list[float]:
    """Seconds of the call on the device, after it was called to warm up."""
    stopwatch = Stopwatch(setting.device)
    for _ in range(3):
        call()
    return [stopwatch.device_seconds(call) for _ in range(3 if setting.dry else SAMPLES)]


def bandwidth(setting: Setting, kind: str) -> Values:
    """GB/s of a copy (bytes read and written), of a read (torch's sum) or of a write."""
    size = (DRY_BYTES if setting.dry else STREAM_BYTES) // 4
    a = torch.ones(size, device=setting.device)
    b = torch.empty_like(a) if kind == "copy" else a
    calls: dict[str, Callable[[], Any]] = {
        "copy": lambda: b.copy_(a),
        "read": lambda: a.sum(),
        "write": lambda: a.zero_(),
    }
    moved = 4 * size * (2 if kind == "copy" else 1)
    times = quartiles("device", samples(setting, calls[kind]))
    return {"value": moved / times["device_ms"] / 1e6, "unit": "GB/s", **times}


def products(setting: Setting, name: str) -> Values:
    """TFLOP/s of a product of two square matrices; also its largest relative error."""
    dtype, tf32 = PRECISIONS[name]
    size = DRY_SQUARE if setting.dry else SQUARE
    a, b = (torch.randn(size, size, device=setting.device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    with tf32_products(tf32):
        times = quartiles("device", samples(setting, lambda: torch.mm(a, b, out=out)))
    some = out[:16].double() - a[:16].double() @ b.double()
    error = float(some.abs().max() / (a[:16].double() @ b.double()).abs().max())
    rate = 2 * size**3 / times["device_ms"] / 1e9
    return {"value": rate, "unit": "TFLOP/s", "error": error, **times}


@contextmanager
def tf32_products(allowed: bool) -> Any:
    """Whether float32 matrix products may round their factors to TF32."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def launches(setting: Setting) -> Values:
    """Microseconds of a call that does next to nothing: launched alone, in turn, in a graph."""
    x = torch.zeros(1, device=setting.device)
    stopwatch = Stopwatch(setting.device, cold=False)

    def call() -> None:
        x.add_(1)

    for _ in range(GRAPH_CALLS):
        call()
    alone = sorted(stopwatch.host_seconds(call) for _ in range(SAMPLES))[SAMPLES // 2]
    graph = sorted(stopwatch.graph_seconds(call, SAMPLES))[SAMPLES // 2]
    launch = stopwatch.launch_seconds(call)
    return {"value": 1e6 * launch, "unit": "µs", "alone_us": 1e6 * alone, "graph_us": 1e6 * graph}
