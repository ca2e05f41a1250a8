"""The way that short trainings take, kept so that a machine of any class can be held against it.

`python tests/trajectories.py` makes tests/data/trajectories.json anew, in a minute or two, which is
needed only where SAMPLE changes, or where results are meant to (and `NUMERICS` is raised). A row of
a training is [updates, ‖trained − start‖, loss of that update's batch, tolerance].

The tolerance is relative, of both numbers, and four times as far as rounding carried them when it
was made: the same training again, its gradient moved at every update by Gaussian noise of 10⁻⁷ and
of 10⁻⁶ of its root mean square. It is 0.005 at least, and 0.02 from update 50, since one ReLU or
maximum that flips shows now and then. Another class of machine adds up in another order, which
moves sums by about 10⁻⁷.
Of losses at update 101 that an Intel Xeon recorded, an AMD EPYC found conv's 0.5% and
FC's 0.1% away, and the others', where they are recorded, within 10⁻⁶.
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
    """Trains a run as it always is, and watches: its record, and [updates, moved, loss] of AT."""
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
    """Where a training left the way that is kept, in words; it may be shorter than that.

    Raises:
        ValueError: where a row has nothing to be compared with, or there is none.
    """
    found = []
    for (updates, *ours), (same, *theirs, tolerance) in zip(rows, kept[: len(rows)], strict=True):
        if updates != same:
            raise ValueError(f"update {updates} is compared with update {same}")
        for name, a, b in zip(("moved", "loss"), ours, theirs, strict=True):
            if not apart(a, b) <= tolerance:
                found.append(f"update {updates}: {name} {a:.6g}, not {b:.6g} ± {tolerance:.2g}")
    if not rows:
        raise ValueError("nothing was compared")
    return found


def apart(a: float, b: float) -> float:
    """Relative to b."""
    return abs(a / b - 1)


def make(run: RunConfig, digits: Dataset) -> dict[str, Any]:
    """What is kept of a training."""
    run = run.with_steps(STEPS)
    record, rows = follow(run, digits)
    shaken = [follow(run, digits, noise)[1] for noise in NOISE]
    for i, row in enumerate(rows):
        worst = max(apart(other[i][k], row[k]) for other in shaken for k in (1, 2))
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
