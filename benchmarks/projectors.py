"""asv: what every projector costs, in the small cells of `subspace-bench compare`, and what it
learns.

Lower is better everywhere: accuracy is tracked as an error rate. Parameters are fixed names, so
that results of different machines and commits stand on one plot.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from subspace_bench.compare.cells import small
from subspace_bench.data import load_or_embedded
from subspace_bench.errors import UserError
from subspace_bench.experiments import trainings
from subspace_bench.measure import peak, vectors
from subspace_bench.train import train

CASES = {(case.projector, f"{case.native}x{case.dim}"): case for case in small()}
STEPS = 300  # of a short training


class Projectors:
    """Set-up, forward, transpose, memory; on one thread."""

    params = tuple(list(dict.fromkeys(names)) for names in zip(*CASES, strict=True))
    param_names = ("projector", "size")
    timeout = 120
    version = "2"

    def setup(self, name: str, size: str) -> None:
        torch.set_num_threads(1)
        self.case = CASES[name, size]
        self.omega, self.theta = vectors(self.case)
        try:
            self.projector = self.case.make()
        except UserError as failure:  # another package's that is broken is skipped
            raise NotImplementedError(str(failure)) from failure
        self.projector(self.omega), self.projector.transpose(self.theta)  # compiles

    def time_setup(self, name: str, size: str) -> None:
        self.case.make()

    def time_forward(self, name: str, size: str) -> None:
        self.projector(self.omega)

    def time_transpose(self, name: str, size: str) -> None:
        self.projector.transpose(self.theta)

    def track_peak(self, name: str, size: str) -> int:
        return peak(self.case, self.projector, self.omega, self.theta)

    def track_bytes(self, name: str, size: str) -> int:
        return self.projector.nbytes

    track_peak.unit = track_bytes.unit = "bytes"  # type: ignore[attr-defined]


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
