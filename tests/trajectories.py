"""Trajectories of short trainings, stored to compare a machine of any class with.

`python tests/trajectories.py` writes tests/data/trajectories.json again, in a minute or two; needed
only after a change of SAMPLE, or of results (when `NUMERICS` is raised). A row of a training is
[updates, ‖trained − start‖, loss of that update's batch, tolerance].

The tolerance is relative and applies to both numbers. It is four times their change when the
training is repeated with Gaussian noise on every gradient, of 10⁻⁷ and of 10⁻⁶ of the gradient's
root mean square; at least 0.005, and 0.02 from update 50 on, because a single ReLU or maximum may
flip. Machines of another class sum in another order, which changes sums by about 10⁻⁷: at update
101, an AMD EPYC differed from an Intel Xeon by 0.5% in conv's loss, by 0.1% in FC's, and by less
than 10⁻⁶ in the others.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from subspace_bench.datasets.dataset import Dataset
from subspace_bench.datasets.loading import load
from subspace_bench.records import provenance
from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Record
from subspace_bench.subspace import FlatParameters
from subspace_bench.training import loop, presets
from subspace_bench.training.optimizers import Optimizer

FILE = Path(__file__).parent / "data" / "trajectories.json"
AT = (1, 10, 20, 50, 100, 200)  # updates
STEPS = loop.FINGERPRINT_STEP
NOISE = (1e-7, 1e-6)
# One of each way to train: optimizers, projection, dropout, samplings, initialisations.
SAMPLE = {
    "conv": presets.post("conv", None, 10),
    "conv, d = 1,000": presets.post("conv", 1_000, 10),
    "conv, d = 300": presets.post("conv", 300, 10, "normal:0.01"),
    "FC": presets.post("fc", None, 10),
    "FC, d = 30": presets.post("fc", 30, 10),
    "MNIST-lite CNN": presets.lite("cnn-3369"),
    "MNIST-lite MLP": presets.lite("mlp-16"),
    "tutorial 1": presets.tutorial("1"),
    "tutorial 2": presets.tutorial("2"),
}
Row = list[float]


def follow(run: RunConfig, digits: Dataset, noise: float = 0.0) -> tuple[Record, list[Row]]:
    """Trains a run; returns its record and its rows [updates, ‖trained − start‖, loss] at AT."""
    rows: list[Row] = []
    step, done = loop.step, 0
    start = torch.empty(0)
    draw = torch.Generator().manual_seed(0)

    def watched(net: FlatParameters, optimizer: Optimizer, x: Tensor, y: Tensor) -> Tensor:
        nonlocal done, start
        if not done:
            start = optimizer.trained.detach().clone()
            if noise:
                optimizer.step = noisy(optimizer.step, net)  # type: ignore[method-assign]
        loss = step(net, optimizer, x, y)
        done += 1
        if done in AT:
            moved = (optimizer.trained.detach() - start).norm()
            rows.append([done, float(f"{moved:.7g}"), float(f"{loss:.7g}")])
        return loss

    def noisy(move: Callable[[], None], net: FlatParameters) -> Callable[[], None]:
        def moved() -> None:
            g = net.gradient
            g.add_(
                torch.randn(g.shape, generator=draw), alpha=noise * float(g.square().mean().sqrt())
            )
            move()

        return moved

    with patch.object(loop, "step", watched):
        return loop.train(run, digits), rows


def differences(rows: list[Row], kept: list[Row]) -> list[str]:
    """Where a training leaves the stored trajectory, in words; it may be shorter than that.

    Raises:
        ValueError: if there are no rows, or a row has no stored counterpart.
    """
    if not rows:
        raise ValueError("there are no rows to compare")
    problems = []
    for (updates, *ours), (same, *theirs, tolerance) in zip(rows, kept[: len(rows)], strict=True):
        if updates != same:
            raise ValueError(f"update {updates} is compared with update {same}")
        for name, a, b in zip(("distance", "loss"), ours, theirs, strict=True):
            if not relative_difference(a, b) <= tolerance:
                problems.append(f"update {updates}: {name} {a:.6g}, not {b:.6g} ± {tolerance:.2g}")
    return problems


def relative_difference(a: float, b: float) -> float:
    """|a − b| / |b|."""
    return abs(a / b - 1)


def make(run: RunConfig, digits: Dataset) -> dict[str, Any]:
    """What is stored of a training."""
    run = run.with_steps(STEPS)
    record, rows = follow(run, digits)
    noisy = [follow(run, digits, noise)[1] for noise in NOISE]
    for i, row in enumerate(rows):
        worst = max(relative_difference(other[i][k], row[k]) for other in noisy for k in (1, 2))
        row.append(max(0.005 if row[0] < 50 else 0.02, float(f"{4 * worst:.2g}")))
    return {"sha256_at_200": record.result["sha256_at_200"], "rows": rows}


def main() -> None:
    digits = load("mnist")
    kept = {}
    for name, run in SAMPLE.items():
        kept[name] = make(run, digits)
        print(name, *kept[name]["rows"], sep="\n    ", flush=True)
    here = provenance.machine()
    machine = {name: here[name] for name in provenance.DECIDING}
    text = json.dumps({"machine": machine, "trainings": kept}, indent=1, ensure_ascii=False)
    for name in kept:  # a row a line
        for row in kept[name]["rows"]:
            text = text.replace(json.dumps(row, indent=1).replace("\n", "\n    "), json.dumps(row))
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
