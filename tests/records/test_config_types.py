"""A configuration has fields of the right types: others would fail later, or change the hash."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from subspace_bench import RunConfig, TrainingConfig, UserError

PROTOCOL = TrainingConfig(steps=3, batch=2, lr=0.1)
WRONG = (torch.zeros(3), np.zeros(2), "3", [], object(), None, math.inf, 10**400, b"3")


@pytest.mark.parametrize("value", WRONG, ids=[str(type(value)) for value in WRONG])
@pytest.mark.parametrize("name", ["steps", "batch", "lr", "betas", "eps", "score_every"])
def test_protocols(name: str, value: object) -> None:
    with pytest.raises(UserError, match=name):
        TrainingConfig(**{"steps": 3, "batch": 2, "lr": 0.1, name: value})


@pytest.mark.parametrize("value", [torch.zeros(3), [], object(), 2.5, b"x"])
@pytest.mark.parametrize(
    "name", ["model", "init", "dim", "projector", "seed", "dataset", "threads"]
)
def test_runs(name: str, value: object) -> None:
    with pytest.raises(UserError, match=name):
        RunConfig(**{"model": "conv", "init": "he", "protocol": PROTOCOL, name: value})


@pytest.mark.parametrize("name", ["steps", "batch", "score_every"])
def test_counts_are_integers(name: str) -> None:
    with pytest.raises(UserError, match=name):
        TrainingConfig(**{"steps": 3, "batch": 2, "lr": 0.1, name: 2.5})


def test_integers_stand_for_floats() -> None:
    same = TrainingConfig(steps=3, batch=2, lr=np.float64(1), betas=[0, 1])
    assert same == TrainingConfig(steps=3, batch=2, lr=1.0, betas=(0.0, 1.0))
