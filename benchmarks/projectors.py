"""asv: what every projector costs, in the small cells of `subspace-bench compare`, and the error
of short trainings.

Lower is better everywhere: accuracy is tracked as an error rate. Parameters are fixed names, so
that results of different machines and commits stand on one plot.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from subspace_bench.common.errors import UserError
from subspace_bench.datasets.loading import load_or_embedded
from subspace_bench.profiling.cases import small
from subspace_bench.profiling.timing import peak, vectors
from subspace_bench.projectors.base import Projector
from subspace_bench.regression import suite
from subspace_bench.training.loop import train

CASES = {(case.projector, f"{case.native}x{case.dim}"): case for case in small()}


@functools.cache
def made(name: str, size: str) -> tuple[Projector, Tensor, Tensor]:
    """A case's projector, used once, which compiles; ω and θ. asv does `setup` before every call
    that it times: what is made anew there would be timed cold.
    """
    case = CASES[name, size]
    omega, theta = vectors(case)
    projector = case.make()
    projector(omega), projector.transpose(theta)
    return projector, omega, theta


class Projectors:
    """Set-up, forward, transpose, memory; on one thread.

    `track_peakmem` is of the products alone: asv's own `peakmem_` is of the whole process, of which
    PyTorch takes hundreds of megabytes and a projector one.
    """

    params = tuple(list(dict.fromkeys(names)) for names in zip(*CASES, strict=True))
    param_names = ("projector", "size")
    timeout = 120
    version = "3"

    def setup(self, name: str, size: str) -> None:
        torch.set_num_threads(1)
        self.case = CASES[name, size]
        try:
            self.projector, self.omega, self.theta = made(name, size)
        except UserError as failure:  # another package's that is broken is skipped
            raise NotImplementedError(str(failure)) from failure

    def time_setup(self, name: str, size: str) -> None:
        self.case.make()

    def time_forward(self, name: str, size: str) -> None:
        self.projector(self.omega)

    def time_transpose(self, name: str, size: str) -> None:
        self.projector.transpose(self.theta)

    def track_peakmem(self, name: str, size: str) -> int:
        return peak(self.case, self.projector, self.omega, self.theta)

    def track_bytes(self, name: str, size: str) -> int:
        return self.projector.nbytes

    # Of so short calls one is no sample, and ten samples are few.
    time_forward.number = time_transpose.number = 10  # type: ignore[attr-defined]
    time_forward.repeat = time_transpose.repeat = (5, 20, 2.0)  # type: ignore[attr-defined]
    track_peakmem.unit = track_bytes.unit = "bytes"  # type: ignore[attr-defined]


class Errors:
    """Test error in % of the runs that `subspace-bench check` judges: seed 0, exact on a machine.

    The same trainings, so that error stands beside speed: `check` says whether a change of these
    numbers is more than another seed would make.
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
