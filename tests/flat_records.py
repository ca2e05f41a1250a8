"""Records with a flat learning curve: for pages, not for training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Record


def record(run: RunConfig, accuracy: float) -> Record:
    """A record that scores the same accuracy, in %, whenever its protocol scores."""
    scores = [u for u in range(1, run.protocol.steps + 1) if run.protocol.scored(u)]
    curve = [[u, accuracy, 0.1] for u in scores]
    provenance = {"seconds_set_up": 0.1, "seconds_training": 1.0, "peak_memory_mb": 900}
    return Record(run, {"accuracy": accuracy, "curve": curve}, provenance)


def records(runs: Mapping[RunConfig, Sequence[float]]) -> list[Record]:
    """One such record for each accuracy of each run, by seed."""
    return [
        record(replace(run, seed=seed), accuracy)
        for run, accuracies in runs.items()
        for seed, accuracy in enumerate(accuracies)
    ]
