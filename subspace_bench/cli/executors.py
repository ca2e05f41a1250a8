"""The executor that `--executor` names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from subspace_bench.common.errors import UserError
from subspace_bench.training.cluster import ClusterExecutor, Needs


def open_executor(
    name: str,
    needs: Callable[..., Needs],
    address: str | None,
    jobs: int | None,
    folder: Path,
) -> ClusterExecutor:
    """An executor on a cluster.

    Arguments:
        name: "ray" or "submitit".
        needs: from the arguments of a task to what it needs.
        address: of a Ray cluster, HOST:PORT, or "auto" for the one on this machine; None starts
            one here.
        jobs: tasks at a time, at most.
        folder: for submitit's files; every machine must see it.

    Raises:
        UserError: the package is not installed, or the cluster does not answer.
    """
    try:
        if name == "ray":
            from subspace_bench.training.ray_executor import RayExecutor

            return RayExecutor(needs, address, jobs)
        from subspace_bench.training.submitit_executor import SubmititExecutor

        return SubmititExecutor(needs, folder, jobs)
    except ImportError as failure:
        extra = {"ray": "ray", "submitit": "slurm"}[name]
        raise UserError(
            f'--executor {name} needs {name} ({failure}): pip install "subspace-bench[{extra}]"'
        ) from failure
