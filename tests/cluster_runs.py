"""The runs that tests train on clusters, and what they need."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.torture import tiny
from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Record
from subspace_bench.training import loop
from subspace_bench.training.cluster import Needs
from subspace_bench.training.runner import train_and_store

RUNS = [replace(run, seed=seed) for run in tiny.runs() for seed in range(2)]


def needs(run: RunConfig) -> Needs:
    return Needs(threads=1, memory=1e9, seconds=1.0)


def train_often_saved(run: RunConfig, folder: Path) -> Record:
    """As `train_and_store`, with a checkpoint several times a second."""
    loop.CHECKPOINT_SECONDS = 0.2
    return train_and_store(run, folder, None)
