"""Accuracy at about 1,000 trained numbers, ours and peft's: a table of results/peers.md.

    python -m benchmarks.peers --accuracy

Writes results/peers-accuracy.csv and .json, a row as each training ends; a second call resumes.

Protocol, fixed before the runs. Net: 784-200-200-10 (`models.fc`), D = 199,210, PyTorch's initial
weights. Every method trains EPOCHS epochs in batches of BATCH. Adam's learning rate follows a
one-cycle schedule that peaks after a quarter of the steps. The last 10,000 training images are held
out: never trained on. With the same seed, all methods start from the same θ₀ and see the same
batches.

1. "select": seeds 0 and 1 train at each peak rate of a grid of factors of 2. The grid grows until
   the best mean accuracy on held-out images lies inside it; that rate is the method's.
2. "final": seeds 10 … 17 train at this rate. Only these are scored on the test set, once, after the
   last step. The table has their mean, and the paired difference from hashed, with 95% intervals.
3. "long": seeds 0 and 1 train at this rate for twice the epochs, scored on held-out images. Their
   gain over "select" says how far from converged the accuracies are.

OVER_LORA was added after the other methods had run, under the same protocol.

Nothing else is tuned. peft's settings are its defaults, except the rank and the number of trained
numbers (see METHODS); its methods leave biases at their initial values.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks import held_out, measurements
from benchmarks.held_out import Split, normalised, split
from benchmarks.peer_accuracy_table import REFERENCE
from benchmarks.rate_search import best_rate
from subspace_bench import Subspace, UserError, models
from subspace_bench.datasets.loading import load_or_embedded
from subspace_bench.records import provenance

NAME = "peers-accuracy"
DIM, EPOCHS, BATCH, HELD_OUT = 1_000, 10, 128, 10_000
SELECT_SEEDS, FINAL_SEEDS = (0, 1), tuple(range(10, 18))
LAYERS = ["fc1", "fc2", "fc3"]
OVER_LORA = "ours, hashed, over LoRA's factors, r = 32"

Build = Callable[[nn.Module, int], nn.Module]  # (plain net, seed) → net with few trained numbers


def subspace(projector: str) -> Build:
    return lambda net, seed: Subspace(net, DIM, projector, seed)


def adapter(config: str, seed_name: str = "", layers: list[str] = LAYERS, **options: Any) -> Build:
    """A method of peft: the name of its config, and of the option that seeds its projection."""

    def build(net: nn.Module, seed: int) -> nn.Module:
        peft: Any = importlib.import_module("peft")
        seeded = {seed_name: seed} if seed_name else {}
        made = getattr(peft, config)(target_modules=layers, **options, **seeded)
        adapted: nn.Module = peft.get_peft_model(net, made)
        return adapted

    return build


def subspace_over_lora(projector: str, rank: int) -> Build:
    """A subspace of LoRA's factors, as in examples/lora.py."""
    lora = adapter("LoraConfig", r=rank)
    return lambda net, seed: Subspace(lora(net, seed), DIM, projector, seed)


@dataclass(frozen=True)
class Method:
    """How to build a net, and the peak rates that are tried first."""

    build: Build
    rates: tuple[float, ...]


METHODS = {
    REFERENCE: Method(subspace("hashed"), (0.1, 0.2, 0.4)),
    "ours, Fastfood": Method(subspace("fastfood"), (0.1, 0.2, 0.4)),
    "ours, sparse": Method(subspace("sparse"), (0.1, 0.2, 0.4)),
    "UniLora, r = 32": Method(
        adapter("UniLoraConfig", "proj_seed", r=32, theta_d_length=DIM), (0.04, 0.08, 0.16)
    ),
    "UniLora, r = 4": Method(
        adapter("UniLoraConfig", "proj_seed", r=4, theta_d_length=DIM), (0.04, 0.08, 0.16)
    ),
    "VeRA, r = 196": Method(
        adapter("VeraConfig", "projection_prng_key", r=196), (0.04, 0.08, 0.16)
    ),
    "TinyLoRA, r = 32, one vector": Method(
        adapter("TinyLoraConfig", "projection_seed", r=32, u=DIM, weight_tying=1.0),
        (0.01, 0.02, 0.04),
    ),
    "TinyLoRA, r = 32, a vector per layer": Method(
        adapter("TinyLoraConfig", "projection_seed", r=32, u=333), (0.01, 0.02, 0.04)
    ),
    "LoRA, r = 1": Method(adapter("LoraConfig", r=1), (0.005, 0.01, 0.02)),
    "LoRA, r = 1, first layer": Method(
        adapter("LoraConfig", layers=LAYERS[:1], r=1), (0.01, 0.02, 0.04)
    ),
    OVER_LORA: Method(subspace_over_lora("hashed", 32), (0.1, 0.2, 0.4)),
}


@dataclass(frozen=True)
class Case:
    """One training; `rate` is the peak learning rate."""

    method: str
    stage: str
    rate: float
    seed: int
    epochs: int


@dataclass(frozen=True)
class Score:
    """What a training gave.

    Attributes:
        accuracy: in %, on the test set in stage "final", else on held-out images.
        trained: how many numbers were trained.
        cpu_seconds: of this process, with construction and scoring.
    """

    accuracy: float
    trained: int
    cpu_seconds: float


def train(case: Case, data: Split) -> Score:
    """One training; accuracy 0 if it diverged."""
    start = time.process_time()
    torch.manual_seed(case.seed)
    net = METHODS[case.method].build(models.build("fc"), case.seed)
    trained = [p for p in net.parameters() if p.requires_grad]
    batches = list(
        held_out.batches(len(data.train[1]), BATCH, case.epochs, case.seed, partial=True)
    )
    optimizer = torch.optim.Adam(trained, case.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, case.rate, total_steps=len(batches) + 1, pct_start=0.25, cycle_momentum=False
    )
    accuracy = 0.0
    try:
        for batch in batches:
            optimizer.zero_grad()
            loss = cross_entropy(net(data.train[0][batch]), data.train[1][batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        if loss.isfinite():
            accuracy = held_out.accuracy(net, data.test if case.stage == "final" else data.held_out)
    except UserError:  # ω is NaN
        pass
    seconds = round(time.process_time() - start, 1)
    return Score(round(accuracy, 2), sum(p.numel() for p in trained), seconds)


class Runs:
    """All trainings so far, kept in the csv."""

    def __init__(self, out: Path, data: Split) -> None:
        self.out, self.data = out, data
        self.scores: dict[Case, Score] = {}
        self.facts = {**provenance.machine(), "dataset": data.name, "peft": _peft_version()}
        if (out / f"{NAME}.csv").is_file():
            self.scores = read(measurements.load(NAME, out).numbers)

    def score(self, case: Case) -> float:
        """The accuracy of a case, trained if it is new."""
        if case not in self.scores:
            self.scores[case] = train(case, self.data)
            rows = [asdict(case) | asdict(score) for case, score in self.scores.items()]
            measurements.save(NAME, self.out, pd.DataFrame(rows), self.facts)
            print(*rows[-1].values(), flush=True)
        return self.scores[case].accuracy

    def select(self, method: str) -> float:
        """The rate with the best mean accuracy on held-out images, inside the grid."""

        def accuracy(rate: float) -> float:
            cases = [Case(method, "select", rate, seed, EPOCHS) for seed in SELECT_SEEDS]
            return float(np.mean([self.score(case) for case in cases]))

        return best_rate(METHODS[method].rates, accuracy)


def read(rows: pd.DataFrame) -> dict[Case, Score]:
    """The trainings in a csv."""
    of = len(Case.__dataclass_fields__)
    return {Case(*row[:of]): Score(*row[of:]) for row in rows.itertuples(index=False, name=None)}


def measure(out: Path) -> None:
    """Trains what the csv lacks, on one thread."""
    torch.set_num_threads(1)
    runs = Runs(out, split(load_or_embedded(), normalised))
    rates = {method: runs.select(method) for method in METHODS}
    for seed in FINAL_SEEDS:
        for method, rate in rates.items():
            runs.score(Case(method, "final", rate, seed, EPOCHS))
    for method, rate in rates.items():
        for seed in SELECT_SEEDS:
            runs.score(Case(method, "long", rate, seed, 2 * EPOCHS))


def _peft_version() -> str:
    return str(importlib.import_module("peft").__version__)
