"""Checkpoints: the state of a training run between two updates, in one file beside the record.

It has the trained vector, the optimizer's moments, the module's buffers and the curve so far.
Random streams have no state: they are functions of seed and step.
"""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from subspace_bench.common.files import write_atomically
from subspace_bench.records.config import RunConfig
from subspace_bench.training.optimizers import Optimizer


@dataclass
class TrainingState:
    """How far a training has come.

    Attributes:
        updates: number of updates so far.
        seconds: time spent on training and scoring, without set-up.
        curve: rows of [updates, test accuracy in %, loss].
        extra: additional entries of the record's result.
    """

    updates: int = 0
    seconds: float = 0.0
    curve: list[list[float]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


class Checkpoint:
    """The checkpoint file of one run; if `path` is None, nothing is saved."""

    def __init__(self, path: Path | None, run: RunConfig) -> None:
        self.path, self.run = path, run

    def load(self, optimizer: Optimizer, module: nn.Module) -> TrainingState | None:
        """Restores optimizer and module; returns None if there is no usable checkpoint."""
        if self.path is None or not self.path.exists():
            return None
        try:
            content = torch.load(self.path, map_location=self.run.device, weights_only=True)
            if content["run"] != self.run.hash:
                return None
            state = TrainingState(**content["state"])
            optimizer_state, buffers = content["optimizer"], content["buffers"]
        except Exception:  # a damaged checkpoint costs minutes, not results: start again
            return None
        optimizer.load_state_dict(optimizer_state)
        module.load_state_dict(buffers, strict=False)
        return state

    def write(self, state: TrainingState, optimizer: Optimizer, module: nn.Module) -> None:
        """Writes the checkpoint, atomically."""
        if self.path is None:
            return
        file = io.BytesIO()
        content = {
            "run": self.run.hash,
            "optimizer": optimizer.state_dict(),
            "buffers": dict(module.named_buffers()),
            "state": asdict(state),
        }
        torch.save(content, file)
        write_atomically(self.path, file.getvalue())
