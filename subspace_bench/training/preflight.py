"""Whether a run can be trained at all, found out before anything is."""

from __future__ import annotations

from subspace_bench.common.errors import UserError
from subspace_bench.common.formatting import format_bytes
from subspace_bench.common.hardware import available_memory
from subspace_bench.records.config import RunConfig


def check_trainable(run: RunConfig) -> None:
    """The run's choices exist and fit each other, and its memory is there."""
    from subspace_bench import models, projectors
    from subspace_bench.common.rng import generator
    from subspace_bench.training.cost import estimate

    net = models.build(run.model)
    try:
        models.initialise(net, run.init, generator(run.seed, "init"))
    except ValueError as failure:
        raise UserError(f"--init {run.init}: {failure}") from failure
    native = models.parameter_count(net)
    if run.dim is not None and not 1 <= run.dim <= native:
        raise UserError(
            f"{run.model} has {native:,} parameters: "
            f"--dim is from 1 to {native}, or left out to train them all, not {run.dim}"
        )
    if run.dim is not None and run.origin == "zero":
        if "first" not in projectors.load(run.projector or "").accepts:
            raise UserError(
                f"origin zero needs a projector whose first column can be chosen, which "
                f"{run.projector!r} is not: take --origin init, or --projector orthonormal"
            )
        if not any(p.any() for p in net.parameters()):
            raise UserError(
                f"--init {run.init} makes θ_init zero, no direction for P's first column: "
                "take another --init, or --origin init"
            )
    needed, free = estimate(run).memory, available_memory()
    if needed > free:
        raise UserError(
            f"{run.label} takes about {format_bytes(needed)} of memory and "
            f"{format_bytes(free)} are free: take a smaller --dim, or a projector that stores less"
        )
