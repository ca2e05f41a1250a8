"""Trains all runs on a Ray cluster: `driver.py ADDRESS FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from cluster_runs import RUNS, needs

from subspace_bench.records.store import Store
from subspace_bench.training.ray_executor import RayExecutor
from subspace_bench.training.runner import train_all

address, folder = sys.argv[1:]
train_all(RUNS, Store(Path(folder)), None, 1, lambda event: None, RayExecutor(needs, address))
