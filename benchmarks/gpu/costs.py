"""What a step of N nets must move and compute at least, to hold measured times against.

Bytes: each stored P once where one kernel does Pᵀg, Adam and Pω, else twice, and the images.
Operations: two for each multiply-add of the net, forward and twice that backward.
"""

from __future__ import annotations

from benchmarks.gpu.stages import Setting, Values
from subspace_bench import projectors
from subspace_bench.profiling.worker import MEMORY_FRACTION, free_memory
from subspace_bench.records.config import RunConfig
from subspace_bench.training.cost import count_operations

ONE_READ_ROWS = (1 << 14) + (1 << 13)  # kernels.triton.projected_adam.MOST_ROWS, without Triton


def step_costs(run: RunConfig, nets: int) -> Values:
    """`bytes` and `operations` of one step of all nets."""
    conv, dense, native = count_operations(run.model)
    images = 4 * 28 * 28 * run.protocol.batch
    stored = stored_bytes(run, native)
    reads = 1 if native <= ONE_READ_ROWS else 2
    return {
        "bytes": nets * (reads * stored + images + 8 * 4 * native),
        "operations": nets * 3 * 2 * run.protocol.batch * (conv + dense),
    }


def stored_bytes(run: RunConfig, native: int) -> int:
    """Bytes of one P."""
    if run.dim is None or run.projector is None:
        return 0
    return projectors.footprint(run.projector, native, run.dim).resident_bytes


def fits_device(run: RunConfig, nets: int, setting: Setting) -> bool:
    """Whether the P of all nets, and one more while they are stacked, fit into free memory."""
    native = count_operations(run.model)[2]
    needed = 2 * nets * stored_bytes(run, native)
    return needed <= MEMORY_FRACTION * free_memory(setting.device)
