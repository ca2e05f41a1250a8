"""Subspace around modules of all kinds: gradients, tying, buffers, saving, merging."""

import pytest
import torch
from torch import nn

from subspace_bench.common.errors import UserError
from subspace_bench.projectors import make
from subspace_bench.subspace import FlatParameters, Subspace

X = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))


def small(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def trained(net: Subspace, steps: int = 5) -> Subspace:
    optimizer = torch.optim.Adam(net.parameters(), 0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        net(X).square().mean().backward()
        optimizer.step()
    return net


def test_theta_is_origin_plus_p_omega_and_its_gradient_the_adjoint() -> None:
    net = trained(Subspace(small(), 6, "gaussian", seed=5, scaling="none"))
    projector = make("gaussian", net.projector.native, 6, seed=5)
    origin = torch.cat([p.reshape(-1) for p in small().parameters()])
    torch.testing.assert_close(net.theta(), origin + projector(net.omega))
    weights = torch.randn(net.projector.native)
    net.omega.grad = None
    (net.theta() @ weights).backward()
    torch.testing.assert_close(net.omega.grad, projector.transpose(weights))


def test_an_origin_not_stored_is_checked_by_its_fingerprint() -> None:
    net = trained(Subspace(small(), dim=6, keep_origin=False))
    state = net.state_dict()
    assert "module.0.weight" not in state
    assert "module.1.running_mean" in state
    again = Subspace(small(), dim=6, keep_origin=False)
    again.load_state_dict(state)
    torch.testing.assert_close(again.eval()(X), net.eval()(X))
    with pytest.raises(UserError, match="origin"):
        Subspace(small(seed=1), dim=6, keep_origin=False).load_state_dict(state)


def test_another_seed_or_projector_cannot_be_loaded() -> None:
    state = Subspace(small(), dim=6, seed=1).state_dict()
    with pytest.raises(UserError, match="seed"):
        Subspace(small(), dim=6, seed=2).load_state_dict(state)
    with pytest.raises(UserError, match="projector"):
        Subspace(small(), dim=6, projector="orthonormal", seed=1).load_state_dict(state)


def test_a_refused_state_changes_nothing() -> None:
    state = trained(Subspace(small(), dim=6, seed=1)).state_dict()
    net = Subspace(small(), dim=6, seed=2)
    with pytest.raises(UserError):
        net.load_state_dict(state)
    assert not net.omega.any()


def test_another_first_column_is_another_projector() -> None:
    def around(first: torch.Tensor) -> Subspace:
        native = sum(p.numel() for p in small().parameters())
        return Subspace(small(), 6, make("orthonormal", native, 6, seed=0, first=first[:native]))

    one, other = torch.randn(200), torch.randn(200)
    with pytest.raises(UserError, match="first column"):
        around(other).load_state_dict(around(one).state_dict())
    around(one).load_state_dict(around(one).state_dict())


def test_a_subspace_inside_a_module_keeps_its_checks() -> None:
    def nested(seed: int) -> nn.Sequential:
        return nn.Sequential(Subspace(small(seed), dim=6, keep_origin=False), nn.ReLU()).eval()

    net = nested(0)
    trained(net[0])
    again = nested(0)
    again.load_state_dict(net.state_dict())
    torch.testing.assert_close(again.eval()(X), net.eval()(X))
    for strict in (True, False):
        with pytest.raises(UserError, match="origin"):
            nested(1).load_state_dict(net.state_dict(), strict=strict)


def test_modules_that_span_nothing_and_wrong_projectors_are_refused() -> None:
    with pytest.raises(UserError):
        Subspace(nn.ReLU(), dim=1)
    with pytest.raises(UserError):
        Subspace(nn.Linear(2, 2), dim=7)
    with pytest.raises(UserError):
        Subspace(nn.Linear(2, 2), dim=3, projector=make("gaussian", 5, 3, seed=0))


def test_flat_parameters_are_views_of_theta() -> None:
    module = small()
    flat = FlatParameters(module)
    flat.theta.zero_()
    assert all(not p.any() for p in module.parameters())
    module(X).sum().backward()
    assert torch.equal(flat.gradient, torch.cat([p.grad.reshape(-1) for p in flat.parameters]))
    assert flat.gradient.any()
