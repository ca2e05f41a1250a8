"""Copies, files, states and averages of a Subspace, for modules of all kinds."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import Tensor
from wrapped_modules import MODULES, inputs, wrapped

from subspace_bench import projectors
from subspace_bench.subspace import Subspace


@pytest.mark.parametrize("name", [*MODULES])
def test_copies_and_files_give_the_same_net(name: str) -> None:
    net = wrapped(MODULES[name])
    net(inputs())
    expected = net(inputs()).detach()
    others = [copy.deepcopy(net)]
    if name != "weight norm":  # of parametrized modules torch saves the state alone
        file = io.BytesIO()
        torch.save(net, file)
        file.seek(0)
        others.append(torch.load(file, weights_only=False))
    for other in others:
        torch.testing.assert_close(other(inputs()), expected)
        with torch.no_grad():
            other.omega.zero_()
        torch.testing.assert_close(net(inputs()), expected)
        assert not torch.equal(other(inputs()), expected)


@pytest.mark.parametrize("name", MODULES)
def test_state_dicts_hold_tensors_and_bring_it_back(name: str) -> None:
    net = wrapped(MODULES[name])
    saved = net.state_dict()
    assert all(isinstance(value, Tensor) for value in saved.values())
    moved = {key: value.cpu().clone() for key, value in saved.items()}
    torch.manual_seed(9)
    for assign in (False, True):
        again = Subspace(MODULES[name](), 5, "hashed", seed=3).eval()
        again.load_state_dict(moved, assign=assign)
        torch.testing.assert_close(again(inputs()), net(inputs()))


def test_it_is_built_on_meta_and_filled() -> None:
    net = wrapped(MODULES["mlp"])
    with torch.device("meta"):
        empty = Subspace(MODULES["mlp"](), 5, "hashed", seed=3)
    empty = empty.to_empty(device="cpu").eval()
    empty.load_state_dict(net.state_dict())
    torch.testing.assert_close(empty(inputs()), net(inputs()))
    with torch.device("meta"):
        assigned = Subspace(MODULES["mlp"](), 5, "hashed", seed=3).eval()
    assigned.load_state_dict(net.state_dict(), assign=True)
    torch.testing.assert_close(assigned(inputs()), net(inputs()))


@pytest.mark.parametrize("projector", projectors.names())
def test_p_is_nobodys_state(projector: str) -> None:
    net = wrapped(MODULES["mlp"], projector)
    assert not list(net.buffers())
    before = net.projector(torch.ones(5))
    average = torch.optim.swa_utils.AveragedModel(net, use_buffers=True)
    for value in (1.0, 2.0):
        with torch.no_grad():
            net.omega.fill_(value)
        average.update_parameters(net)
    assert torch.equal(average.module.projector(torch.ones(5)), before)
    torch.testing.assert_close(average.module.omega, torch.full((5,), 1.5))
    net.bfloat16().float()
    assert torch.equal(net.projector(torch.ones(5)), before)
