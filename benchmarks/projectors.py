"""asv benchmarks: the cost of every projector at two small sizes, and the error of short trainings.

Lower is better everywhere, so accuracy is tracked as an error rate. Parameters are fixed names, so
that results of different machines and commits share one plot.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from subspace_bench.common.errors import UserError
from subspace_bench.datasets.loading import load_or_embedded
from subspace_bench.profiling.cases import asv_cases
from subspace_bench.profiling.timing import measure_peak_bytes, random_vectors
from subspace_bench.projectors.base import Projector
from subspace_bench.regression import suite
from subspace_bench.training.loop import train

CASES = {(case.projector, f"{case.native}x{case.dim}"): case for case in asv_cases()}


@functools.cache
def make_once(name: str, size: str) -> tuple[Projector, Tensor, Tensor]:
    """The projector of a case, compiled, with an ω and a θ.

    Cached, because asv calls `setup` before every sample: a new projector would be timed cold.
    """
    case = CASES[name, size]
    omega, theta = random_vectors(case)
    projector = case.make()
    projector(omega), projector.transpose(theta)
    return projector, omega, theta


class Projectors:
    """Set-up, forward, transpose and memory, on one thread.

    `track_peakmem` measures the products alone. asv's own `peakmem_` measures the whole process,
    in which PyTorch takes hundreds of megabytes and a projector one.
    """

    params = tuple(list(dict.fromkeys(names)) for names in zip(*CASES, strict=True))
    param_names = ("projector", "size")
    timeout = 120
    version = "3"

    def setup(self, name: str, size: str) -> None:
        torch.set_num_threads(1)
        self.case = CASES[name, size]
        try:
            self.projector, self.omega, self.theta = make_once(name, size)
        except UserError as failure:  # a broken plug-in: asv skips it
            raise NotImplementedError(str(failure)) from failure

    def time_setup(self, name: str, size: str) -> None:
        self.case.make()

    def time_forward(self, name: str, size: str) -> None:
        self.projector(self.omega)

    def time_transpose(self, name: str, size: str) -> None:
        self.projector.transpose(self.theta)

    def track_peakmem(self, name: str, size: str) -> int:
        return measure_peak_bytes(self.case, self.projector, self.omega, self.theta)

    def track_bytes(self, name: str, size: str) -> int:
        return self.projector.nbytes

    # The calls are short: a sample averages ten of them, and asv takes many samples.
    time_forward.number = time_transpose.number = 10  # type: ignore[attr-defined]
    time_forward.repeat = time_transpose.repeat = (5, 20, 2.0)  # type: ignore[attr-defined]
    track_peakmem.unit = track_bytes.unit = "bytes"  # type: ignore[attr-defined]


class Errors:
    """Test error in % of the runs of `subspace-bench check`, seed 0; exact on one machine.

    `check` decides whether a change in these numbers exceeds the variation between seeds.
    """

    params = (list(suite.runs()),)
    param_names = ("run",)
    timeout = 300
    version = "2"

    def track_error_rate(self, name: str) -> float:
        dataset = load_or_embedded()
        record = train(suite.runs(dataset.name)[name], dataset)
        return 100 - float(record.result["accuracy_end"])

    track_error_rate.unit = "%"  # type: ignore[attr-defined]
