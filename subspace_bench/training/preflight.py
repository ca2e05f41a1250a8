"""Checks before training that a run can be trained."""

from __future__ import annotations

from collections.abc import Mapping

from subspace_bench import models, projectors
from subspace_bench.common.errors import UserError
from subspace_bench.common.formatting import format_bytes
from subspace_bench.common.hardware import available_memory, core_count, resident_memory
from subspace_bench.common.rng import generator
from subspace_bench.projectors.base import require_sizes
from subspace_bench.records.config import RunConfig
from subspace_bench.training.cost import Cost, estimate, jobs_that_fit, memory_together

MEMORY_FRACTION = 0.9  # of available memory that all runs may use together


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
    cost = estimate(run)
    require_memory(run.label, cost.memory, available_memory())
    return cost


def require_memory(label: str, needed: float, free: float) -> None:
    """Raises UserError if a run needs more bytes than there are."""
    if needed > free:
        raise UserError(
            f"{label} needs about {format_bytes(needed)} of memory, but only "
            f"{format_bytes(free)} is free: use a smaller --dim, or a projector that stores less"
        )


def choose_jobs(costs: Mapping[str, Cost], requested: int | None) -> int:
    """The number of runs to train at a time: as requested, or one per core, if they fit memory.

    Arguments:
        costs: the cost of every run, by its label.

    Raises:
        UserError: if the run that needs most memory does not fit even alone.
    """
    free = MEMORY_FRACTION * (available_memory() + resident_memory())
    for label, cost in costs.items():
        require_memory(label, memory_together([cost], 1), free)
    return jobs_that_fit(list(costs.values()), requested or core_count(), free)
