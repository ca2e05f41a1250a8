"""asv: one training step of the post's conv net, in three ways, on one thread."""

from __future__ import annotations

import torch

from subspace_bench.data import load_or_embedded
from subspace_bench.experiments import trainings

from .baselines import WAYS


class TimeTrainingStep:
    """Seconds of an update at D and at d = 1,000."""

    params = (["post's way", "resident eager", "fast"], ["D", "1000"])
    param_names = ("way", "dim")
    version = "1"
    timeout = 300
    warmup_time = 1.0
    number = 10

    def setup(self, way: str, dim: str) -> None:
        torch.set_num_threads(1)
        run = trainings.post("conv", None if dim == "D" else int(dim), 10)
        self.step = WAYS[way](run, load_or_embedded())
        self.step()  # compiles

    def time_step(self, way: str, dim: str) -> None:
        self.step()
