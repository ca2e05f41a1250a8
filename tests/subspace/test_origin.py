"""Writes to θ₀ take effect at once; nothing else replaces it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from wrapped_modules import MODULES, Tied, inputs, wrapped

from subspace_bench.common.errors import UserError
from subspace_bench.subspace import Subspace

x = inputs().detach()


def in_place(module: nn.Module) -> None:
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()


def through_data(module: nn.Module) -> None:
    for p in module.parameters():
        p.data.zero_()


def as_data(module: nn.Module) -> None:
    for p in module.parameters():
        p.data = torch.zeros_like(p)


def from_a_vector(module: nn.Module) -> None:
    vector = nn.utils.parameters_to_vector(module.parameters())
    nn.utils.vector_to_parameters(torch.zeros_like(vector), module.parameters())


def from_a_state(module: nn.Module) -> None:
    module.load_state_dict({name: torch.zeros_like(p) for name, p in module.named_parameters()})


def assigned_from_a_state(module: nn.Module) -> None:
    zeros = {name: torch.zeros_like(p) for name, p in module.named_parameters()}
    module.load_state_dict(zeros, assign=True)


def as_parameters(module: nn.Module) -> None:
    for i in (0, 2):
        module[i].weight = nn.Parameter(torch.zeros_like(module[i].weight))
        module[i].bias = nn.Parameter(torch.zeros_like(module[i].bias))


WRITES = [
    in_place, through_data, as_data, from_a_vector, from_a_state, assigned_from_a_state,
    as_parameters,
]  # fmt: skip
READS: list[Callable[[Subspace], object]] = [
    lambda net: net(x), Subspace.theta, lambda net: net.merge()(x),
]  # fmt: skip


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("read", READS, ids=["forward", "theta", "merge"])
def test_every_write_is_noticed(write: Callable, read: Callable) -> None:
    net, fresh = wrapped(MODULES["mlp"]), wrapped(MODULES["mlp"])
    for _ in range(2):
        net(x)
    for each in (net, fresh):
        write(each.module)
    expected = net.projector(net.omega)
    torch.testing.assert_close(net.theta() if read is Subspace.theta else read(net), read(fresh))
    torch.testing.assert_close(net.theta(), expected)
    assert [name for name, p in net.named_parameters() if p.requires_grad] == ["omega"]


def test_parameters_of_another_shape_are_refused() -> None:
    net = wrapped(MODULES["mlp"])
    with pytest.raises(UserError):
        net.module[0].weight = nn.Parameter(torch.zeros(3, 6))
    next(net.module.parameters()).data = torch.zeros(3, 6)
    with pytest.raises(UserError):
        net(x)


def test_assigning_one_of_two_tied_parameters_keeps_the_tie() -> None:
    for name in ("encoder", "decoder"):
        net = wrapped(Tied)
        getattr(net.module, name).weight = nn.Parameter(torch.eye(6))
        assert net.module.encoder.weight is net.module.decoder.weight
        with torch.no_grad():
            net.omega.zero_()
        torch.testing.assert_close(net.module.decoder.weight, torch.eye(6))
        assert len(list(net.module.parameters())) == 1


def test_tied_parameters_are_saved_once() -> None:
    saved = wrapped(Tied).state_dict()
    addresses = [value.data_ptr() for value in saved.values()]
    assert len(addresses) == len(set(addresses)) == 3  # safetensors refuses shared memory
    again = Subspace(Tied(), 5, "hashed", seed=3)
    again.load_state_dict(saved)
    torch.testing.assert_close(again(x), wrapped(Tied)(x))


@pytest.mark.parametrize("name", ["mlp", "parameters of all shapes"])
def test_transforms_leave_no_trace(name: str) -> None:
    """Nor when the first use of the Subspace is in one."""
    net = wrapped(MODULES[name])
    expected = wrapped(MODULES[name])(x)

    def loss(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.func.functional_call(net, parameters, (x,)).square().sum()

    gradients = torch.func.grad(loss)({"omega": net.omega.detach()})
    other = {name: torch.zeros_like(p) for name, p in net.named_parameters()}
    torch.func.grad(loss)(other)
    torch.func.functional_call(net, other, (x,))
    torch.testing.assert_close(net.module(x), expected)
    torch.testing.assert_close(net(x), expected)
    net(x).square().sum().backward()
    torch.testing.assert_close(net.omega.grad, gradients["omega"])
