"""A run and its record, stored."""

from __future__ import annotations

from pathlib import Path

from subspace_bench.records.config import RunConfig, TrainingConfig
from subspace_bench.records.store import Record, Store

RUN = RunConfig(
    "conv", "he", TrainingConfig(steps=12, batch=64, lr=3e-3, betas=(0.9, 0.99)), numerics=1
)
RESULT = {
    "accuracy": 10.0,
    "accuracy_end": 91.25,
    "native_dimension": 21_840,
    "free_parameters": 21_840,
    "sha256": "0" * 64,
    "curve": [[1, 10.0, 2.3], [12, 91.25, 0.4]],
}
FACTS = {"seconds_set_up": 0.2, "seconds_training": 1.5, "peak_memory_mb": 900}


def make_store(folder: Path) -> Store:
    """A store with the one record."""
    store = Store(folder)
    store.put(Record(RUN, RESULT, FACTS))
    return store
