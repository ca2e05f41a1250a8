"""The commands at their smallest: the same code, with runs of a fraction of a second.

`shrink` replaces what the commands train by a few small runs on MNIST-5k, in this process and in
its forks. Nothing else of them changes.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from subspace_bench.datasets import download, loading, locate
from subspace_bench.datasets.download import DatasetUnavailable
from subspace_bench.experiments import STUDIES, Evidence, Page, Plan, Study, projectors
from subspace_bench.profiling import table
from subspace_bench.records import committed
from subspace_bench.records.config import RunConfig, TrainingConfig
from subspace_bench.regression import suite
from subspace_bench.regression.sequential import Design
from subspace_bench.reporting import render
from subspace_bench.training import loop

STEPS, SEEDS = 120, 10  # of a run; of a reference
PAGE = "tiny"
TASK = """
import torch
from torch import nn

def build(seed):
    torch.manual_seed(seed)
    return nn.Linear(20, 4)

def train(net, seed):
    source = torch.Generator().manual_seed(7)
    x, target = torch.randn(64, 20, generator=source), torch.randn(20, 4, generator=source)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    for _ in range(60):
        loss = ((net(x) - x @ target) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return 1 / (1 + loss.item())
"""


def runs() -> list[RunConfig]:
    """Four kinds of run: full space by Adam and SGD, and two subspaces."""
    adam = TrainingConfig(steps=STEPS, batch=16, lr=3e-3, score_first=40, score_every=40)
    sgd = replace(adam, optimizer="sgd", lr=0.05, momentum=0.9, sampling="epochs")
    net = RunConfig("mlp-16", "default", adam, dataset="mnist-5k")
    return [
        net,
        replace(net, protocol=sgd),
        replace(net, dim=20, projector="orthonormal", origin="zero"),
        replace(net, dim=20, projector="gaussian", protocol=sgd),
    ]


def designs() -> list[Design]:
    """The tests of a check, whose constants take a second to simulate."""
    return [Design(family=len(checked_runs()), reference=SEEDS)]


def cases(plan: Plan) -> list[RunConfig]:
    return plan.expand(runs())


def page(evidence: Evidence) -> Page:
    rows = [
        {"run": str(i), "seed": str(record.run.seed), "accuracy": str(record.result["accuracy"])}
        for i, run in enumerate(runs())
        for record in evidence.local(run)
    ]
    frame = pd.DataFrame(rows, columns=["run", "seed", "accuracy"])
    return Page(PAGE, "Tiny runs", f"{len(rows)} records", {"runs": frame}, frame)


def checked_runs(dataset: str = "mnist") -> dict[str, RunConfig]:
    """Two runs to check, in place of six."""
    first, _, third, _ = (replace(run.with_steps(20), dataset=dataset) for run in runs())
    return {
        name: replace(run, protocol=replace(run.protocol, score_first=20, score_every=20))
        for name, run in (("full space", first), ("d = 20", third))
    }


def shrink(work: Path) -> None:
    """Makes the commands of this process and of its forks small.

    Arguments:
        work: a folder for what takes the place of committed records and downloads.
    """

    def no_network(name: str, root: Path | None = None) -> Path:
        raise DatasetUnavailable(f"{name} could not be downloaded: no network")

    changes: list[tuple[Any, str, Any]] = [
        (loading, "download", no_network),
        (download, "download", no_network),
        (locate, "cache_folder", lambda: work / "cache"),
        (committed, "PACKAGE", work / "package"),
        (table, "read_bandwidth", lambda *_: 1e10),  # 2 s in each process that measures
        (projectors, "write_page_of", lambda path, missing: [path]),  # 4 s
        (render, "write_figure", lambda *_: []),  # 1 s each
        (suite, "runs", checked_runs),
        (suite, "MIN_SEEDS", SEEDS),
        (loop, "CHECKPOINT_SECONDS", 0.02),
    ]
    for module, name, value in changes:
        setattr(module, name, value)
    os.environ.pop("SUBSPACE_BENCH_DATA", None)
    STUDIES.clear()
    STUDIES[PAGE] = Study(PAGE, "Tiny runs", cases, page)


def warm_up() -> None:
    """Reads the data and compiles kernels, which forks then inherit."""
    import torch

    from subspace_bench.datasets.embedded import embedded_digits

    torch.set_num_threads(1)
    for run in runs():
        loop.train(run.with_steps(2), embedded_digits())
    for design in designs():
        design.minimum_detectable_effect()
