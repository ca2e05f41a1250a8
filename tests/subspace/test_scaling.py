"""Row scaling, the default projector, and the learning rate that they make independent of size."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from subspace_bench import models
from subspace_bench.common.errors import UserError
from subspace_bench.projectors import make
from subspace_bench.subspace import Subspace
from subspace_bench.subspace.scaling import RowScaled


def net_of(widths: list[int]) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Linear(m, n) for m, n in itertools.pairwise(widths)))


@pytest.mark.parametrize("projector", ["hashed", "gaussian", "fastfood-layers"])
def test_rows_are_scaled_by_fan_in(projector: str) -> None:
    net = Subspace(net_of([6, 40, 3]), 10, projector, seed=4)
    plain = Subspace(net_of([6, 40, 3]), 10, projector, seed=4, scaling="none")
    factors = (net.projector.native / 10 / models.fan_in(net_of([6, 40, 3]))).sqrt()
    omega, theta = torch.randn(2, 10), torch.randn(2, net.projector.native)
    torch.testing.assert_close(net.projector(omega), factors * plain.projector(omega))
    torch.testing.assert_close(
        net.projector.transpose(theta), plain.projector.transpose(factors * theta)
    )


def normal(size: int, seed: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


@st.composite
def cuts(draw: st.DrawFn, total: int) -> list[int]:
    """Sizes that add up to a total, some of them 0 or 1."""
    cuts = sorted(draw(st.lists(st.integers(0, total), max_size=12)))
    cuts += [min(c + draw(st.integers(0, 1)), total) for c in cuts]
    return [stop - start for start, stop in itertools.pairwise([0, *sorted(cuts), total])]


@pytest.mark.parametrize("name", ["hashed", "fastfood", "fastfood-layers", "sparse"])
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_fused_kernels_have_the_bits_of_the_separate_operations(name: str, data) -> None:
    native = data.draw(st.integers(1, 9000))
    dim = data.draw(st.integers(1, native))
    sizes, others = data.draw(cuts(native)), data.draw(cuts(native))
    values = data.draw(st.lists(st.floats(0.01, 100), min_size=len(sizes), max_size=len(sizes)))
    inner = make(name, native, dim, seed=3, layers=sizes)
    scaled = RowScaled(inner, values, sizes)
    rows = torch.tensor(values).repeat_interleave(torch.tensor(sizes))
    omega, origin, gradient = normal(dim, 1), normal(native, 2), normal(native, 3)
    theta = torch.full((native,), torch.nan)
    scaled.displace(origin, omega, theta)
    assert torch.equal(theta, inner(omega) * rows + origin)
    expected = inner.transpose(gradient * rows)
    for cut in (sizes, others):
        assert torch.equal(scaled.transpose_pieces(gradient.split(cut)), expected)
    scaled.displace(origin, torch.zeros(dim), theta)
    assert torch.equal(theta, origin)


def test_a_map_can_be_scaled_twice() -> None:
    once = RowScaled(make("hashed", 30, 5, seed=1), [2.0, 4.0], [10, 20])
    twice = RowScaled(once, [8.0], [30])
    omega, theta, gradient = normal(5, 1), torch.empty(30), normal(30, 2)
    twice.displace(torch.zeros(30), omega, theta)
    assert torch.equal(theta, 8 * once(omega))
    assert torch.equal(twice.transpose_pieces([gradient]), once.transpose(8 * gradient))


@pytest.mark.parametrize("width", [100, 400])
@pytest.mark.parametrize("dim", [20, 200])
@pytest.mark.parametrize("projector", ["hashed", "fastfood", "sparse-signs"])
def test_a_step_of_adam_moves_each_layer_by_the_rate_over_root_fan_in(
    projector: str, dim: int, width: int
) -> None:
    module = net_of([width, 30, 10])
    before = [p.detach().clone() for p in module.parameters() if p.ndim > 1]
    net = Subspace(module, dim, projector)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    net(torch.randn(20, width)).square().sum().backward()
    optimizer.step()
    for old, new in zip(before, [net.module[0].weight, net.module[1].weight], strict=True):
        step = (new - old).square().mean().sqrt().item()
        assert step == pytest.approx(0.1 / old.shape[1] ** 0.5, rel=0.4)


def test_unscaled_rows_are_the_projectors_own() -> None:
    net = Subspace(net_of([6, 4]), 3, "gaussian", seed=2, scaling="none")
    assert net.projector.identity() == make("gaussian", 28, 3, seed=2).identity()


def test_an_unknown_scaling_is_refused() -> None:
    with pytest.raises(UserError, match="fan-out"):
        Subspace(net_of([6, 4]), 3, scaling="fan-out")


@pytest.mark.parametrize("dim", [0, -1, 29, 2.5, "3"])
def test_dimensions_out_of_range_are_refused_before_scaling(dim) -> None:
    with pytest.raises(UserError):
        Subspace(net_of([6, 4]), dim)


@pytest.mark.parametrize("change", [{"scaling": "none"}, {"projector": "gaussian"}])
@pytest.mark.parametrize("keep_origin", [True, False])
def test_a_state_of_another_map_is_refused_both_ways(change, keep_origin: bool) -> None:
    default = Subspace(net_of([6, 4]), 3, keep_origin=keep_origin)
    other = Subspace(net_of([6, 4]), 3, keep_origin=keep_origin, **change)
    with pytest.raises(UserError):
        default.load_state_dict(other.state_dict())
    with pytest.raises(UserError):
        other.load_state_dict(default.state_dict())


def test_the_default_projector_is_fixed_by_name_in_the_state() -> None:
    state = Subspace(net_of([6, 4]), 3).state_dict()
    named = Subspace(net_of([6, 4]), 3, projector="hashed", scaling="fan-in")
    named.load_state_dict(state)


@pytest.mark.parametrize("native", range(1, 6))
def test_the_default_takes_every_dimension_of_tiny_modules(native: int) -> None:
    for dim in range(1, native + 1):
        module = nn.Linear(1, native, bias=False)
        old = module.weight.detach().clone()
        net = Subspace(module, dim)
        with torch.no_grad():
            net.omega.fill_(1.0)
        p = net.projector(torch.eye(dim))
        torch.testing.assert_close(p @ p.T, native / dim * torch.eye(dim))
        assert (net.module.weight != old).all()


def test_weights_made_in_inference_mode_train_afterwards() -> None:
    net = Subspace(net_of([6, 4]), 3)
    with torch.inference_mode():
        net(torch.randn(2, 6))
    net(torch.randn(2, 6)).sum().backward()
    assert net.omega.grad.abs().sum() > 0
