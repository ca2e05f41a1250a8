"""θ's memory is used again only when nothing refers to it; gradients of pieces of any kind."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import Tensor, nn
from wrapped_modules import MODULES, inputs, wrapped

from subspace_bench.subspace import Subspace


def address(net: Subspace) -> int:
    return net.pieces()[0].data_ptr()


def move(net: Subspace) -> None:
    with torch.no_grad():
        net.omega.add_(0.1)


def test_training_writes_theta_into_the_same_memory() -> None:
    net = wrapped(MODULES["mlp"])
    first = address(net)
    for _ in range(3):
        move(net)
        net(inputs()).sum().backward()
        assert address(net) == first


def test_pieces_in_use_keep_their_values() -> None:
    net = wrapped(MODULES["mlp"])
    kept = net.module[0].weight.detach()  # shares θ's memory
    before, first = kept.clone(), address(net)
    move(net)
    assert address(net) != first
    assert torch.equal(kept, before)


def test_a_graph_that_waits_for_its_backward_keeps_its_theta() -> None:
    net = wrapped(MODULES["mlp"])
    expected = torch.autograd.grad(net(inputs()).square().sum(), net.omega)[0]
    waiting = net(inputs()).square().sum()
    move(net)
    net(inputs()).square().sum().backward()
    assert torch.equal(torch.autograd.grad(waiting, net.omega)[0], expected)


def test_theta_made_in_inference_mode_is_no_obstacle_to_training() -> None:
    net = wrapped(MODULES["mlp"])
    with torch.inference_mode():
        inferred = net(inputs())
    output = net(inputs())
    torch.testing.assert_close(output, inferred)
    output.sum().backward()
    assert net.omega.grad is not None


def test_it_leaves_no_cycle_that_holds_theta() -> None:
    net = wrapped(MODULES["mlp"])
    gc.disable()
    try:
        net(inputs()).sum().backward()
        first = address(net)
        move(net)
        assert address(net) == first
    finally:
        gc.enable()


def test_gradients_can_be_differentiated_again() -> None:
    net = wrapped(MODULES["encoder"]).double()
    x = inputs().double()
    (gradient,) = torch.autograd.grad(net(x).square().sum(), net.omega, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), net.omega)

    def loss(omega: Tensor) -> Tensor:
        return torch.func.functional_call(net, {"omega": omega}, (x,)).square().sum()

    def squared(omega: Tensor) -> Tensor:
        return torch.func.grad(loss)(omega).square().sum()

    torch.testing.assert_close(second, torch.func.grad(squared)(net.omega.detach()))


def test_parameters_without_a_gradient_count_as_zeros() -> None:
    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(6, 3), nn.Linear(500, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    net = wrapped(Partly)
    net(inputs()).sum().backward()
    gradient = torch.zeros(net.projector.native)
    gradient[:18] = inputs().detach().sum(0).repeat(3)
    gradient[18:21] = 5
    torch.testing.assert_close(net.omega.grad, net.projector.transpose(gradient))


def test_an_error_in_p_is_not_taken_for_a_missing_attribute(monkeypatch) -> None:
    def fail(*_: object) -> Tensor:
        raise AttributeError("no such name")

    net = wrapped(MODULES["mlp"])
    monkeypatch.setattr(type(net.projector), "displace", fail)
    move(net)
    with pytest.raises(RuntimeError, match="no such name"):
        _ = net.module[0].weight
