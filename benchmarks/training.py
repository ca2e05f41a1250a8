"""asv: one training step of the post's conv net by three methods, on one thread."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from subspace_bench.datasets.loading import load_or_embedded
from subspace_bench.training import presets

from .baselines import METHODS


@functools.cache
def compiled(method: str, dim: str) -> Callable[[], object]:
    """A step that was called once. Cached, as asv calls `setup` before every timed call."""
    run = presets.post("conv", None if dim == "D" else int(dim), 10)
    step = METHODS[method](run, load_or_embedded())
    step()
    return step


class Training:
    """Seconds of an update at D and at d = 1,000."""

    params = (["post's way", "resident eager", "fast"], ["D", "1000"])
    param_names = ("method", "dim")
    version = "2"
    timeout = 300
    warmup_time = 1.0
    number = 10

    def setup(self, method: str, dim: str) -> None:
        torch.set_num_threads(1)
        self.step = compiled(method, dim)

    def time_training_step(self, method: str, dim: str) -> None:
        self.step()
