"""Forward and backward of a `Subspace`, of the plain module, and of peft's adapters, side by side.

A part of `benchmarks.speed`: the table "subspace" of results/speed.md.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from subspace_bench import models
from subspace_bench.subspace import Subspace

PLAIN, DIM = "plain", 1_000
PROJECTORS = ("hashed", "fastfood", "sparse", "gaussian")
DENSE_BYTES = 1 << 30  # a stored P larger than this is left out
RATES = {"forward and backward": "pass", "with Adam": "step"}


@dataclass(frozen=True)
class Net:
    """A module to train, the shape of a batch, and steps to time together."""

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    steps: int


def mlp() -> nn.Module:
    """1,069,194 parameters."""
    layers = (nn.Linear(784, 800), nn.ReLU(), nn.Linear(800, 544), nn.ReLU(), nn.Linear(544, 10))
    return nn.Sequential(nn.Flatten(), *layers)


def resnet18() -> nn.Module:
    from torchvision import models  # imported here because it takes seconds

    net: nn.Module = models.resnet18(weights=None, num_classes=10)
    return net


NETS = (
    Net("post's conv net", lambda: models.build("conv"), (64, 1, 28, 28), 10),
    Net("MLP", mlp, (64, 1, 28, 28), 10),
    Net("ResNet-18", resnet18, (32, 3, 32, 32), 2),
)


class Training:
    """A module with a fixed batch, trained by Adam."""

    def __init__(self, module: nn.Module, shape: tuple[int, ...]) -> None:
        self.module = module
        self.trained = [p for p in module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(self.trained, 1e-4)
        self.images, self.labels = torch.randn(shape), torch.randint(10, shape[:1])

    def step(self) -> tuple[float, float]:
        """Milliseconds of one update: forward and backward, and these with Adam."""
        start = time.perf_counter()
        self.optimizer.zero_grad()
        loss: Tensor = F.cross_entropy(self.module(self.images), self.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        middle = time.perf_counter()
        self.optimizer.step()
        return (middle - start) * 1e3, (time.perf_counter() - start) * 1e3


def methods(net: Net) -> Iterator[tuple[str, nn.Module]]:
    """(name, module) of each method that takes the net."""
    yield PLAIN, net.build()
    native = sum(p.numel() for p in net.build().parameters())
    for projector in PROJECTORS:
        if projector != "gaussian" or 4 * native * DIM <= DENSE_BYTES:
            yield projector, Subspace(net.build(), DIM, projector)
    try:
        peft: Any = importlib.import_module("peft")
    except ImportError:
        return
    module = net.build()
    layers = [k for k, part in module.named_modules() if isinstance(part, (nn.Linear, nn.Conv2d))]
    configs = {"peft LoRA, r = 1": peft.LoraConfig(r=1, target_modules=layers)}
    if not any(isinstance(part, nn.Conv2d) for part in module.modules()):  # linear layers only
        unilora = peft.UniLoraConfig(r=4, theta_d_length=DIM, target_modules=layers)
        configs["peft UniLora, r = 4"] = unilora
        configs["peft VeRA, r = 256"] = peft.VeraConfig(r=256, target_modules=layers)
    for name, config in configs.items():
        yield name, peft.get_peft_model(net.build(), config)


def measure(threads: int, rounds: int) -> list[dict[str, Any]]:
    """A row for each net and method: times, and their ratios to the plain module's in a round."""
    torch.set_num_threads(threads)
    rows = []
    for net in NETS:
        torch.manual_seed(0)
        trainings = {name: Training(module, net.shape) for name, module in methods(net)}
        times = in_turns(trainings, rounds, net.steps)
        plain = trainings[PLAIN].trained
        for name, training in trainings.items():
            row: dict[str, Any] = {"net": net.name, "D": sum(p.numel() for p in plain)}
            row |= {"batch": net.shape[0], "threads": threads, "method": name}
            row["trained"] = sum(p.numel() for p in training.trained)
            for i, rate in enumerate(RATES.values()):
                ratios = times[name][:, i] / times[PLAIN][:, i]
                row |= quartiles(f"{rate} ms", times[name][:, i])
                row |= quartiles(f"{rate} ratio", ratios)
            rows.append(row)
            print(row, flush=True)
    return rows


def in_turns(trainings: dict[str, Training], rounds: int, steps: int) -> dict[str, np.ndarray]:
    """Milliseconds per step, (rounds, 2) for each method; the order rotates."""
    for training in trainings.values():  # compiles, and fills caches
        training.step(), training.step(), training.step()
    times = {name: np.zeros((rounds, 2)) for name in trainings}
    names = list(trainings)
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            times[name][i] = np.mean([trainings[name].step() for _ in range(steps)], axis=0)
    return times


def quartiles(name: str, values: np.ndarray) -> dict[str, float]:
    low, middle, high = np.percentile(values, (25, 50, 75)).round(3).tolist()
    return {name: middle, f"{name} q25": low, f"{name} q75": high}


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """The table of the page."""
    columns = {
        "net": [f"{row['net']}, batch {row['batch']:.0f}" for _, row in frame.iterrows()],
        "D": [f"{size:,.0f}" for size in frame["D"]],
        "method": list(frame["method"]),
        "trained": [f"{size:,.0f}" for size in frame["trained"]],
    }
    for title, rate in RATES.items():
        columns[f"{title}, ms"] = spans(frame, f"{rate} ms")
        columns[f"{title}, × plain"] = spans(frame, f"{rate} ratio")
    return pd.DataFrame(columns)


def spans(frame: pd.DataFrame, name: str) -> list[str]:
    """Median and quartiles of each row."""
    values = frame[[name, f"{name} q25", f"{name} q75"]].to_numpy()
    return [f"{middle:.2f} ({low:.2f}-{high:.2f})" for middle, low, high in values]
