"""The runs that tests train on clusters, and what they need."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.torture import tiny
from subspace_bench.records.config import RunConfig
from subspace_bench.training.cluster import Needs

RUNS = [replace(run, seed=seed) for run in tiny.runs() for seed in range(2)]


def needs(run: RunConfig) -> Needs:
    return Needs(threads=1, memory=1e9, seconds=1.0)
