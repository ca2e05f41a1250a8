"""Checks before training that a run can be trained."""

from __future__ import annotations

from subspace_bench import models, projectors
from subspace_bench.common.errors import UserError
from subspace_bench.common.formatting import format_bytes
from subspace_bench.common.hardware import available_memory
from subspace_bench.common.rng import generator
from subspace_bench.projectors.base import require_sizes
from subspace_bench.records.config import RunConfig
from subspace_bench.training.cost import Cost, estimate


def require_trainable(run: RunConfig) -> Cost:
    """Checks that the run's options exist, are compatible, and fit into the free memory.

    Returns:
        The expected cost of the run.

    Raises:
        UserError: if not; it names the option to change.
    """
    net = models.build(run.model)
    try:
        models.initialise(net, run.init, generator(run.seed, "init"))
    except ValueError as failure:
        raise UserError(f"--init {run.init}: {failure}") from failure
    if run.dim is not None:
        require_sizes(models.parameter_count(net), run.dim, run.seed)
    if run.dim is not None and run.origin == "zero":
        if "first" not in projectors.load(run.projector or "").accepts:
            raise UserError(
                f"--origin zero needs a projector that accepts a first column, such as "
                f"orthonormal; {run.projector!r} does not: use --origin init"
            )
        if not any(p.any() for p in net.parameters()):
            raise UserError(
                f"--init {run.init} makes θ_init zero, which gives P's first column no "
                "direction: use another --init, or --origin init"
            )
    cost, free = estimate(run), available_memory()
    if cost.memory > free:
        raise UserError(
            f"{run.label} needs about {format_bytes(cost.memory)} of memory, but only "
            f"{format_bytes(free)} is free: use a smaller --dim, or a projector that stores less"
        )
    return cost
