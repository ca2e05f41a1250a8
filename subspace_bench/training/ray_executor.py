"""Carries tasks out on a Ray cluster; Ray repeats a task whose worker or node died."""

from __future__ import annotations

import logging
import math
import pickle
import signal
import socket
import threading
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future
from typing import Any

import ray

from subspace_bench.common.errors import UserError
from subspace_bench.common.formatting import format_bytes
from subspace_bench.common.hardware import core_count
from subspace_bench.common.interruption import SIGNALS
from subspace_bench.training.cluster import THREAD_VARIABLES, ClusterExecutor, Needs, Task, settle

MEMORY_STEP = 10**9  # tasks are rounded up to it, because Ray queues each size on its own
REPEATS = 3  # of a task whose worker died: Ray's default
ANSWER_SECONDS = 10.0
LOCAL_OBJECTS = 10**8  # bytes of the object store of a Ray that is started here


class RayExecutor(ClusterExecutor):
    """Submits each call as a Ray task with its CPUs and memory.

    Arguments:
        needs: from the arguments of a task to what it needs.
        address: HOST:PORT, "auto" for the cluster on this machine, or None to start one.
        jobs: tasks that are submitted at once; None for all.

    Raises:
        UserError: the cluster does not answer.
    """

    def __init__(
        self, needs: Callable[..., Needs], address: str | None = None, jobs: int | None = None
    ) -> None:
        self.needs, self.futures = needs, list[Future[Any]]()
        if jobs is not None:
            self.max_workers = jobs
        connect(address, jobs)
        self.nodes = [
            node["Resources"]
            for node in ray.nodes()  # type: ignore[no-untyped-call]
            if node["Alive"]
        ]
        cpus = int(sum(node.get("CPU", 0) for node in self.nodes))
        self.slots = min(jobs or cpus, cpus)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """The future of fn(*args, **kwargs), run on the cluster.

        Raises:
            UserError: if no node has the CPUs and the memory.
        """
        needed = self.needs(*args, **kwargs)
        memory = math.ceil(needed.memory / MEMORY_STEP) * MEMORY_STEP
        if not any(
            node.get("CPU", 0) >= needed.threads
            and node.get("memory", 0) >= memory
            and node.get("GPU", 0) >= needed.gpus
            for node in self.nodes
        ):
            raise UserError(
                f"no node of the Ray cluster has {needed.threads} CPUs, {needed.gpus} GPUs and "
                f"{format_bytes(memory)} of memory, which a run needs: add a node that has"
            )
        task = Task(pickle.dumps((fn, args, kwargs)), needed.threads)
        options = {
            "num_cpus": needed.threads,
            "num_gpus": needed.gpus,
            "memory": memory,
            "max_retries": REPEATS,
        }
        answer = ray.remote(call).options(**options).remote(task).future()
        future: Future[Any] = Future()
        self.futures.append(future)
        answer.add_done_callback(lambda done: settle(future, done.result))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As in `concurrent.futures.Executor`; leaves the cluster, which ends running tasks."""
        if cancel_futures:
            for future in self.futures:
                future.cancel()
        elif wait:
            futures.wait(self.futures)
        ray.shutdown()


def call(task: Task) -> Any:
    """Runs in a Ray worker."""
    return task()


def connect(address: str | None, cpus: int | None = None) -> None:
    """Joins a cluster, or starts one on this machine that has as many CPUs; None for its cores.

    Raises:
        UserError: it does not answer.
    """
    remedy = "start one with `ray start --head`, or correct --address"
    options: dict[str, Any] = {}
    if address is None:
        options = {"include_dashboard": False, "object_store_memory": LOCAL_OBJECTS}
        options["num_cpus"] = cpus or core_count()
    elif address != "auto":
        try:  # Ray itself waits for minutes, then ends the process
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
        except (OSError, ValueError, OverflowError) as failure:
            raise UserError(f"no Ray cluster at {address} ({failure}): {remedy}") from failure
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    variables = dict.fromkeys(THREAD_VARIABLES, "1")
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": variables},
            **options,
        )
    except (ConnectionError, RuntimeError, ValueError) as failure:
        reason = (str(failure).splitlines() or [""])[0]
        raise UserError(f"cannot join a Ray cluster ({reason}): {remedy}") from failure
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():  # Ray replaces that of SIGTERM
                signal.signal(number, handler)
