"""Tasks on other machines: what they need, and what a machine must have to carry them out.

A run is a key and its record the result, so an executor may lose a task or carry it out twice.
"""

from __future__ import annotations

import os
import pickle
import platform
import socket
from collections.abc import Callable
from concurrent.futures import Executor, Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from subspace_bench import __version__
from subspace_bench.common.errors import UnfitMachine
from subspace_bench.records.config import NUMERICS
from subspace_bench.training.worker_main import sendable

if TYPE_CHECKING:  # torch is imported after the threads are limited
    from subspace_bench.records.config import RunConfig
    from subspace_bench.training.cost import Cost

PACKAGES = ("torch", "numpy", "numba")  # whose versions decide the bits of a result
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


@dataclass(frozen=True)
class Needs:
    """What a task needs: threads, bytes of memory, expected seconds, and GPUs."""

    threads: int
    memory: float
    seconds: float
    gpus: int = 0


def needs(run: RunConfig, cost: Cost) -> Needs:
    """What a run needs, from its predicted cost."""
    return Needs(run.threads, cost.memory, cost.seconds, int(run.device == "cuda"))


def versions() -> dict[str, str]:
    """The versions that all machines must share."""
    return {
        "subspace-bench": __version__,
        "NUMERICS": str(NUMERICS),
        "Python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


@dataclass(frozen=True)
class Task:
    """A call that is carried out on another machine, if that has the same versions.

    What is called is unpickled there, after the versions are compared and the threads are limited:
    torch and OpenBLAS read the limits when they are imported.

    Attributes:
        call: the pickled function, arguments and keyword arguments.
    """

    call: bytes
    threads: int
    versions: dict[str, str] = field(default_factory=versions)

    def __call__(self) -> tuple[Any, BaseException | None]:
        """(result, None), or (None, exception)."""
        try:
            self.require_same_versions()
            os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(self.threads)))
            fn, args, kwargs = pickle.loads(self.call)  # noqa: S301 (from our own process)
            return fn(*args, **kwargs), None
        except Exception as failure:
            return None, sendable(failure)

    def require_same_versions(self) -> None:
        """Raises UnfitMachine if a version differs here."""
        for name, here in versions().items():
            if here != self.versions.get(name):
                raise UnfitMachine(
                    f"{socket.gethostname()} has {name} {here}, but this machine has "
                    f"{self.versions.get(name)}: install the same versions on every machine"
                )


def settle(future: Future[Any], outcome: Callable[[], tuple[Any, BaseException | None]]) -> None:
    """Sets a future to the outcome of a `Task`; an exception of `outcome` itself fails it."""
    try:
        value, failure = outcome()
    except BaseException as lost:
        value, failure = None, lost
    with suppress(InvalidStateError):  # it was cancelled
        if failure is None:
            future.set_result(value)
        else:
            future.set_exception(failure)


class ClusterExecutor(Executor):
    """An executor on other machines.

    Attributes:
        slots: about how many tasks run at a time.
    """

    slots: int

    def __exit__(self, *failure: object) -> None:
        """Waits for all tasks; an exception, such as KeyboardInterrupt, cancels them."""
        self.shutdown(cancel_futures=failure[0] is not None)
