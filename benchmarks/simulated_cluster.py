"""A cluster whose workers fail, simulated: how long many runs take on it.

The model is written down on results/scaling.md.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MISPREDICTION = 0.3  # standard deviation of the log of predicted over true time
REPAIR_SECONDS = 300.0  # until a failed worker is back
RESTART_SECONDS = 15.0  # until a run that failed trains again: imports, data, P
HOUR = 3_600.0
NEVER = math.inf
ORDERS = ("longest first", "random", "shortest first")


@dataclass(frozen=True)
class Cluster:
    """A simulated cluster.

    Attributes:
        workers: each trains one run at a time.
        failures: mean seconds between the failures of one worker, exponential.
        order: in which runs start, by their predicted time.
        checkpoint: seconds between checkpoints; NEVER for none.
        write: seconds that a checkpoint takes.
        dispatch: seconds between two starts: the engine starts one task at a time.
    """

    workers: int
    failures: float = NEVER
    order: str = ORDERS[0]
    checkpoint: float = 60.0
    write: float = 0.02
    dispatch: float = 1 / 570

    def makespan(self, seconds: np.ndarray[Any, Any], random: np.random.Generator) -> float:
        """Seconds until all runs have ended."""
        predicted = seconds * np.exp(MISPREDICTION * random.standard_normal(len(seconds)))
        keys = {"longest first": -predicted, "shortest first": predicted}
        priority = keys.get(self.order, random.permutation(len(seconds)).astype(float))
        waiting = [(p, i, s) for i, (p, s) in enumerate(zip(priority, seconds, strict=True))]
        heapq.heapify(waiting)
        free = [0.0] * self.workers  # when each worker is free; a heap
        returning: list[tuple[float, float, int, float]] = []  # runs that failed, by when
        end, engine = 0.0, 0.0  # of the last run; when the engine can start the next task
        while waiting or returning:
            now = max(heapq.heappop(free), engine)
            if not waiting:
                now = max(now, returning[0][0])
            while returning and returning[0][0] <= now:
                heapq.heappush(waiting, heapq.heappop(returning)[1:])
            key, index, left = heapq.heappop(waiting)
            engine = now + self.dispatch
            failure = random.exponential(self.failures) if self.failures < NEVER else NEVER
            needed = left + self.write * (left // self.checkpoint)
            if failure >= needed:
                end = max(end, engine + needed)
                heapq.heappush(free, engine + needed)
                continue
            kept = 0.0
            if self.checkpoint < NEVER:
                kept = self.checkpoint * (failure // (self.checkpoint + self.write))
            again = (engine + failure, key, index, left - kept + RESTART_SECONDS)
            heapq.heappush(returning, again)
            heapq.heappush(free, engine + failure + REPAIR_SECONDS)
        return end


def ideal(times: Sequence[float], workers: int) -> float:
    """The makespan of these tasks, started in order, by an engine that takes no time."""
    free = [0.0] * workers
    for seconds in times:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)
