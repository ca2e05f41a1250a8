"""asv: one training step of the post's conv net, in three ways, on one thread."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from subspace_bench.datasets.loading import load_or_embedded
from subspace_bench.training import presets

from .baselines import WAYS


@functools.cache
def compiled(way: str, dim: str) -> Callable[[], object]:
    """A step that was done once. asv does `setup` before every call that it times."""
    run = presets.post("conv", None if dim == "D" else int(dim), 10)
    step = WAYS[way](run, load_or_embedded())
    step()
    return step


class Training:
    """Seconds of an update at D and at d = 1,000."""

    params = (["post's way", "resident eager", "fast"], ["D", "1000"])
    param_names = ("way", "dim")
    version = "2"
    timeout = 300
    warmup_time = 1.0
    number = 10

    def setup(self, way: str, dim: str) -> None:
        torch.set_num_threads(1)
        self.step = compiled(way, dim)

    def time_training_step(self, way: str, dim: str) -> None:
        self.step()
