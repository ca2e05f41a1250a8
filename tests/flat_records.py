"""Records with a flat curve: for pages, not for training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Record, Store


def record(run: RunConfig, accuracy: float) -> Record:
    """A record that scores the same accuracy, in %, whenever its protocol scores."""
    scores = [u for u in range(1, run.protocol.steps + 1) if run.protocol.scored(u)]
    curve = [[u, accuracy, 0.1] for u in scores]
    facts = {"seconds_set_up": 0.1, "seconds_training": 1.0, "peak_memory_mb": 900}
    return Record(run, {"accuracy": accuracy, "curve": curve}, facts)


def store(folder: Path, runs: dict[RunConfig, list[float]]) -> Store:
    """A store of one such record for each accuracy of each run, by seed."""
    filled = Store(folder)
    for run, values in runs.items():
        for seed, value in enumerate(values):
            filled.put(record(replace(run, seed=seed), value))
    return filled
