"""Checkpoints: the state of a training run between two updates, in one file beside the record.

It has the trained vector, the optimizer's moments, the module's buffers and the curve so far.
Random streams have no state: they are functions of seed and step. The file starts with a SHA-256 of
the rest, and what it holds is checked against the run, so damage costs time, never a result.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from subspace_bench.common.files import read_regular, write_atomically
from subspace_bench.common.schema import Count, Seconds, Sha256, require
from subspace_bench.records.config import RunConfig, TrainingConfig
from subspace_bench.records.store import CurveRow, require_scheduled
from subspace_bench.training.optimizers import Optimizer

HEAD = b"subspace-bench checkpoint 2\n"  # then the SHA-256 of the rest, 32 bytes
FINGERPRINT_STEP = 200  # tests repeat this many updates and compare with the record


class DamagedCheckpoint(Exception):
    """A checkpoint cannot be used; optimizer and module may be half restored."""


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


class SavedState(TypedDict):
    """A `TrainingState` in a checkpoint."""

    updates: Count
    seconds: Seconds
    curve: list[CurveRow]
    extra: dict[str, Sha256]


class Checkpoint:
    """The checkpoint file of one run; if `path` is None, nothing is saved."""

    def __init__(self, path: Path | None, run: RunConfig) -> None:
        self.path, self.run = path, run

    def load(self, optimizer: Optimizer, module: nn.Module) -> TrainingState | None:
        """Restores optimizer and module; returns None if there is no checkpoint.

        Raises:
            DamagedCheckpoint: if it is damaged or of another run.
        """
        if self.path is None:
            return None
        try:
            content = torch.load(
                io.BytesIO(verified(read_regular(self.path))),
                map_location=self.run.device,
                weights_only=True,  # runs no code from the file
            )
            if content["run"] != self.run.hash:
                raise ValueError("it belongs to another run")
            require_state(content["state"], self.run.protocol)
            state = TrainingState(**content["state"])
            buffers = dict(module.named_buffers())
            require_tensors(content["buffers"], buffers, "buffers")
            require_optimizer(content["optimizer"], optimizer, state.updates)
            optimizer.load_state_dict(content["optimizer"])
            module.load_state_dict(content["buffers"], strict=False)
        except FileNotFoundError:
            return None
        except Exception as failure:
            first = (str(failure).splitlines() or [type(failure).__name__])[0]
            raise DamagedCheckpoint(f"{self.path} cannot be used ({first})") from failure
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
        write_atomically(self.path, sealed(file.getvalue()))


def read_state(path: Path) -> TrainingState:
    """How far the training of a checkpoint has come.

    Raises:
        DamagedCheckpoint: if it cannot be read.
        FileNotFoundError: if there is none.
    """
    try:
        data = io.BytesIO(verified(read_regular(path)))
        state = torch.load(data, map_location="cpu", weights_only=True)["state"]
        require(state, SavedState, "its state")
    except FileNotFoundError:
        raise
    except Exception as failure:
        raise DamagedCheckpoint(f"{path} cannot be used") from failure
    return TrainingState(**state)


def sealed(content: bytes) -> bytes:
    """The bytes of a checkpoint file with this content."""
    return HEAD + hashlib.sha256(content).digest() + content


def verified(data: bytes) -> bytes:
    """The content of a checkpoint file.

    Raises:
        ValueError: if the digest is not that of the content.
    """
    head, content = data[: len(HEAD) + 32], data[len(HEAD) + 32 :]
    if head != HEAD + hashlib.sha256(content).digest():
        raise ValueError("its content does not fit its digest")
    return content


def require_state(state: Any, protocol: TrainingConfig) -> None:
    """Checks types, ranges and the updates of a saved `TrainingState`.

    Raises:
        ValueError: names what is wrong.
    """
    require(state, SavedState, "its state")
    updates, extra = state["updates"], state["extra"]
    if updates > protocol.steps:
        raise ValueError(f"it has {updates} updates, but the run has {protocol.steps}")
    require_scheduled(protocol, state["curve"], updates)
    if set(extra) != ({"sha256_at_200"} if updates >= FINGERPRINT_STEP else set()):
        raise ValueError(f"its extra entries are {sorted(extra)}")


def require_optimizer(saved: Any, optimizer: Optimizer, updates: int) -> None:
    """Checks a saved `Optimizer.state_dict()` against the optimizer that will load it.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: if it does not fit.
    """
    names = {*optimizer.tensors, "updates", *(["optimizer"] if optimizer.optimizer else [])}
    if saved.keys() != names or saved["updates"] != updates:
        raise ValueError("its optimizer has other entries")
    tensors = {name: saved[name] for name in optimizer.tensors}
    require_tensors(tensors, optimizer.tensors, "optimizer")
    if optimizer.optimizer is not None:
        require_torch_optimizer(saved["optimizer"], optimizer.optimizer, updates)


def require_torch_optimizer(saved: Any, own: torch.optim.Optimizer, updates: int) -> None:
    """Checks the saved state of a torch optimizer: its constants, and the moments by parameter.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: if it does not fit.
    """
    expected = own.state_dict()
    groups, own_groups = saved["param_groups"], expected["param_groups"]
    for group, own_group in zip(groups, own_groups, strict=True):
        if {**group, "lr": 0} != {**own_group, "lr": 0}:  # each step sets the rate
            raise ValueError("its optimizer has other constants")
    adam = isinstance(own, torch.optim.Adam)
    names = (
        ("exp_avg", "exp_avg_sq") if adam else ("momentum_buffer",) * bool(groups[0]["momentum"])
    )
    parameters = [p for group in own.param_groups for p in group["params"]] if names else []
    moments = saved["state"]
    if moments.keys() != set(range(len(parameters))):
        raise ValueError("its optimizer has other parameters")
    for index, parameter in enumerate(parameters):
        state = dict(moments[index])
        if adam and float(state.pop("step")) != updates:
            raise ValueError("its optimizer has made other steps")
        require_tensors(state, dict.fromkeys(names, parameter), "moments")


def require_tensors(saved: Any, own: dict[str, Tensor], name: str) -> None:
    """Checks that tensors have the names, shapes and dtypes of others, and finite numbers.

    Raises:
        ValueError: if not.
    """
    if type(saved) is not dict or saved.keys() != own.keys():
        raise ValueError(f"its {name} have other names")
    for key, value in own.items():
        given = saved[key]
        if not isinstance(given, Tensor) or (given.shape, given.dtype) != (
            value.shape,
            value.dtype,
        ):
            raise ValueError(f"its {name}.{key} has another shape or type")
        if given.layout != torch.strided or not bool(given.isfinite().all()):
            raise ValueError(f"its {name}.{key} has numbers that are not finite")
