"""Where an interrupted run goes on: everything between two steps, in one file beside the record.

Random streams need no state (they are functions of seed and step), so this is the trained
numbers, the optimizer's moments, the module's buffers and the curve so far.
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
    """How far a run has come.

    Attributes:
        updates: made so far.
        seconds: of training and scoring, set-up left out.
        curve: rows of [updates, test accuracy in %, loss].
        extra: further entries of the record's result.
    """

    updates: int = 0
    seconds: float = 0.0
    curve: list[list[float]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


class Checkpoint:
    """The checkpoint of one run, or none where `path` is None."""

    def __init__(self, path: Path | None, run: RunConfig) -> None:
        self.path, self.run = path, run

    def load(self, optimizer: Optimizer, module: nn.Module) -> TrainingState | None:
        """Brings optimizer and module back to where they were; None where there is nothing."""
        if self.path is None or not self.path.exists():
            return None
        try:
            content = torch.load(self.path, map_location=self.run.device, weights_only=True)
            ours = content["run"] == self.run.hash
            state = TrainingState(**content["state"])
            moved, buffers = content["optimizer"], content["buffers"]
        except Exception:  # a damaged checkpoint costs minutes, not results: start over
            return None
        if not ours:
            return None
        optimizer.load_state_dict(moved)
        module.load_state_dict(buffers, strict=False)
        return state

    def write(self, state: TrainingState, optimizer: Optimizer, module: nn.Module) -> None:
        """Writes the checkpoint atomically."""
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
