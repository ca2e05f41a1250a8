"""asv: what every projector costs, at two sizes of `subspace-bench compare`, and what it learns.

Lower is better everywhere: accuracy is tracked as an error rate. Parameters are fixed names, so
that results of different machines and commits stand on one plot.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from subspace_bench import projectors
from subspace_bench.data import load_or_embedded
from subspace_bench.experiments import trainings
from subspace_bench.measure import Case, vectors
from subspace_bench.projectors.registry import OURS
from subspace_bench.train import train

SIZES = ("21840x1000", "1048576x100")
STEPS = 300  # of a short training


class Projectors:
    """Set-up, forward, transpose, memory; on one thread."""

    params = (list(OURS), list(SIZES))
    param_names = ("projector", "size")
    timeout = 120
    version = "1"

    def setup(self, name: str, sizes: str) -> None:
        torch.set_num_threads(1)
        native, dim = (int(part) for part in sizes.split("x"))
        self.case = Case(name, native, dim)
        self.omega, self.theta = vectors(self.case)
        self.projector = self.make()
        self.projector(self.omega), self.projector.transpose(self.theta)  # compiles

    def make(self) -> projectors.Projector:
        return projectors.make(self.case.projector, self.case.native, self.case.dim, seed=0)

    def time_setup(self, name: str, sizes: str) -> None:
        self.make()

    def time_forward(self, name: str, sizes: str) -> None:
        self.projector(self.omega)

    def time_transpose(self, name: str, sizes: str) -> None:
        self.projector.transpose(self.theta)

    def peakmem_forward_and_transpose(self, name: str, sizes: str) -> None:
        self.projector(self.omega), self.projector.transpose(self.theta)

    def track_bytes(self, name: str, sizes: str) -> int:
        return self.projector.nbytes

    track_bytes.unit = "bytes"  # type: ignore[attr-defined]


class Errors:
    """Test error in % after a short training in a subspace of 1,000 dimensions: one seed, exact."""

    params = (["gaussian", "hashed", "fastfood"],)
    param_names = ("projector",)
    timeout = 300
    version = "1"

    def track_error_rate(self, name: str) -> float:
        run = trainings.recipe(name, 1_000, lr=0.2)
        dataset = load_or_embedded()
        short = replace(run.with_steps(STEPS), dataset=dataset.name)
        return 100 - float(train(short, dataset).result["accuracy_end"])

    track_error_rate.unit = "%"  # type: ignore[attr-defined]
