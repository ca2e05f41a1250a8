"""One training of a task: the plain module, or a subspace of d dimensions around it."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from subspace_bench.common.errors import UserError
from subspace_bench.common.hardware import peak_memory
from subspace_bench.dimension.plan import Plan
from subspace_bench.dimension.task import Task
from subspace_bench.subspace import Subspace
from subspace_bench.subspace.flat import trainable_parameters


@dataclass(frozen=True)
class Trial:
    """What to train.

    Attributes:
        dim: d; None for the baseline, the plain module.
        seed: of the initial parameters, the projector, and the user's loop.
        rate: learning rate given to `train`; None where it has its own.
    """

    dim: int | None
    seed: int
    rate: float | None = None

    @property
    def label(self) -> str:
        what = "the baseline" if self.dim is None else f"d = {self.dim:,}"
        return f"{what}, seed {self.seed}{'' if self.rate is None else f', rate {self.rate:g}'}"


@dataclass(frozen=True)
class Outcome:
    """What a training gave.

    Attributes:
        score: as the task returned it; NaN if it was not finite and the trial has a rate.
        native: D of the module that was built.
        seconds: of building and training.
        peak_bytes: the most memory that the process held so far.
    """

    score: float
    native: int
    seconds: float
    peak_bytes: int


def carry_out(task: Task, trial: Trial, plan: Plan, threads: int | None = None) -> Outcome:
    """Builds the module, trains it, and checks that the loop trained something.

    Python's, NumPy's and PyTorch's global generators are seeded first.

    Arguments:
        plan: its projector and scaling.
        threads: of PyTorch; None leaves their number.

    Raises:
        UserError: if `build` or `train` raises, if `build` returns no module, if the score is not a
            finite number (with a rate, not a number), or if the loop left every parameter as it
            was.
    """
    start = time.perf_counter()
    if threads is not None:
        torch.set_num_threads(threads)
    random.seed(trial.seed)
    np.random.seed(trial.seed)
    torch.manual_seed(trial.seed)
    module = _call("build(seed)", trial, task.build, trial.seed)
    if not isinstance(module, nn.Module):
        raise UserError(
            f"build(seed) returned {type(module).__name__}: it must return a torch.nn.Module"
        )
    native = sum(parameter.numel() for parameter in trainable_parameters(module))
    net: nn.Module = module
    if trial.dim is not None:
        net = Subspace(module, trial.dim, plan.projector, seed=trial.seed, scaling=plan.scaling)
    before = [p.detach().clone() for p in net.parameters() if p.requires_grad]
    options = {} if trial.rate is None else {"rate": trial.rate}
    score = _call("train(net, seed)", trial, task.train, net, trial.seed, **options)
    after = [p for p in net.parameters() if p.requires_grad]
    if all(torch.equal(a, b) for a, b in zip(before, after, strict=False)):
        raise UserError(
            f"train(net, seed) trained nothing at {trial.label}: every parameter is as before. "
            "Give the optimizer net.parameters()"
        )
    seconds = time.perf_counter() - start
    return Outcome(_finite(score, trial), native, seconds, peak_memory())


def _call(what: str, trial: Trial, function: Any, *arguments: Any, **options: Any) -> Any:
    try:
        return function(*arguments, **options)
    except (Exception, SystemExit) as failure:
        reason = (str(failure).splitlines() or [""])[0]
        raise UserError(
            f"{what} raised {type(failure).__name__} at {trial.label}: {reason}"
        ) from failure


def _finite(score: Any, trial: Trial) -> float:
    try:
        number = float(score)
    except (TypeError, ValueError) as failure:
        raise UserError(
            f"train(net, seed) returned {type(score).__name__} at {trial.label}: "
            "it must return one number, the score"
        ) from failure
    if not math.isfinite(number) and trial.rate is not None:
        return math.nan  # this rate is too high: the others are compared
    if not math.isfinite(number):
        raise UserError(
            f"train(net, seed) returned {number} at {trial.label}: a score must be finite. "
            "Did the training diverge?"
        )
    return number
