"""Uses of a Subspace, each with what a plain module at θ gives."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.checkpoint import checkpoint
from wrapped_modules import (
    MODULES,
    Build,
    flat_gradient,
    inputs,
    plain_at_theta,
    wrapped,
)

from subspace_bench.subspace import Subspace
from subspace_bench.subspace.slots import OriginParameter

Pairs = Iterator[tuple[object, object]]  # (actual, expected), for `torch.testing.assert_close`


@dataclass
class Case:
    """A Subspace with ω ≠ 0, and the plain module at its θ; both in evaluation mode."""

    build: Build
    projector: str
    net: Subspace
    plain: nn.Module
    x: Tensor

    @classmethod
    def of(cls, name: str, projector: str) -> Case:
        build = MODULES[name]
        net = wrapped(build, projector)
        return cls(build, projector, net, plain_at_theta(build, net), inputs())

    def new(self, seed: int = 0) -> Subspace:
        """Another Subspace with the same P, its origin from this seed, at ω = 0."""
        torch.default_generator.manual_seed(seed)
        return Subspace(self.build(), 5, self.projector, seed=3).eval()

    def loss(self, module: Callable[[Tensor], Tensor]) -> Tensor:
        return module(self.x).square().sum()

    def gradient(self) -> Tensor:
        """Pᵀ of the plain module's gradient."""
        self.plain.zero_grad()
        self.loss(self.plain).backward()
        return self.net.projector.transpose(flat_gradient(self.plain))

    def plain_at(self, omega: Tensor) -> nn.Module:
        with torch.no_grad():
            self.net.omega.copy_(omega)
        return plain_at_theta(self.build, self.net)


def forward(case: Case) -> Pairs:
    expected = case.plain(case.x).detach()
    with torch.inference_mode():
        yield case.net(case.x), expected
        yield case.net.module(case.x), expected
    yield case.net(case.x), expected
    with torch.no_grad():
        yield case.net(case.x), expected
    with torch.inference_mode():
        yield case.net(case.x), expected
    yield case.net(case.x), expected


def gradients(case: Case) -> Pairs:
    expected, of_x = case.gradient(), case.x.grad
    case.x.grad = None
    for _ in range(2):  # accumulated: the same pieces of θ serve both
        case.loss(case.net).backward()
    yield case.net.omega.grad, 2 * expected
    if of_x is not None:
        yield case.x.grad, 2 * of_x


def training(case: Case) -> Pairs:
    """Outputs in training mode, with the same draws of dropout, and what they do to buffers."""
    for module in (case.net, case.plain):
        module.train()
    for seed in range(2):
        torch.default_generator.manual_seed(seed)
        ours = case.net(case.x)
        torch.default_generator.manual_seed(seed)
        yield ours, case.plain(case.x)
    yield dict(case.net.module.named_buffers()), dict(case.plain.named_buffers())


def descent(case: Case) -> Pairs:
    optimizer = torch.optim.SGD(case.net.parameters(), 0.01)
    expected = case.net.omega.detach().clone()
    for _ in range(2):
        optimizer.zero_grad()
        case.loss(case.net).backward()
        optimizer.step()
        expected = expected - 0.01 * case.gradient()
        yield case.net.omega, expected
        case.plain = plain_at_theta(case.build, case.net)


def direct_calls(case: Case) -> Pairs:
    """The module itself, as any method of it, with gradients, and after each kind of write to ω."""
    expected = case.gradient()
    yield case.net.module(case.x), case.plain(case.x)
    case.loss(case.net.module).backward()
    yield case.net.omega.grad, expected
    with torch.no_grad():
        case.net.omega.add_(1.0)
    yield case.net.module(case.x), plain_at_theta(case.build, case.net)(case.x)
    case.net.omega.data.sub_(2.0)  # which leaves no trace in its version
    yield case.net.module(case.x), plain_at_theta(case.build, case.net)(case.x)


def hooks(case: Case) -> Pairs:
    outputs: dict[nn.Module, list[Tensor]] = {case.net: [], case.plain: []}
    for root in (case.net, case.plain):
        module = root.module if root is case.net else root
        for part in module.modules():
            part.register_forward_hook(lambda _, args, out, to=outputs[root]: to.append(out))
        root(case.x)
    yield outputs[case.net], outputs[case.plain]


def names(case: Case) -> Pairs:
    def described(module: nn.Module) -> object:
        parameters = {
            name: (p.shape, p.dtype) for name, p in module.named_parameters(remove_duplicate=False)
        }
        parts = [(name, type(part).__qualname__) for name, part in module.named_modules()]
        return parameters, parts, list(module.state_dict())

    assert described(case.net.module) == described(case.plain)
    assert [name for name, p in case.net.named_parameters() if p.requires_grad] == ["omega"]
    yield dict(case.net.module.named_buffers()), dict(case.plain.named_buffers())


def frozen_and_back(case: Case) -> Pairs:
    expected = case.gradient()
    parameters = [p for p in case.net.module.parameters() if type(p) is OriginParameter]
    origin = [p.detach().clone() for p in parameters]
    case.net.requires_grad_(False)
    case.loss(case.net)
    case.net.requires_grad_(True)
    optimizer = torch.optim.AdamW(case.net.parameters(), 0.1, weight_decay=0.5)
    case.loss(case.net).backward()
    optimizer.step()
    yield case.net.omega.grad, expected
    yield parameters, origin


def state(case: Case) -> Pairs:
    expected = case.plain(case.x)
    saved = {key: value.cpu().clone() for key, value in case.net.state_dict().items()}
    for assign in (False, True):
        again = case.new(seed=9)
        again.load_state_dict(saved, assign=assign)
        yield again(case.x), expected
    case.loss(again).backward()
    yield again.omega.grad, case.gradient()


def state_on_meta(case: Case) -> Pairs:
    expected = case.plain(case.x)
    for assign in (False, True):
        with torch.device("meta"):
            again = case.new()
        if not assign:
            again = again.to_empty(device="cpu")
        again.load_state_dict(case.net.state_dict(), assign=assign)
        yield again(case.x), expected


def copies(case: Case) -> Pairs:
    expected = case.plain(case.x)
    case.net(case.x)
    others = [copy.deepcopy(case.net)]
    if not any(is_parametrized(part) for part in case.net.modules()):  # torch refuses these
        file = io.BytesIO()
        torch.save(case.net, file)
        file.seek(0)
        others.append(torch.load(file, weights_only=False))
    for other in others:
        yield other(case.x), expected
        with torch.no_grad():
            other.omega.zero_()
        yield case.net(case.x), expected
        assert not torch.equal(other(case.x), case.net(case.x))


def merging(case: Case) -> Pairs:
    case.net(case.x)
    merged = case.net.merge()
    assert type(merged) is type(case.plain) or is_parametrized(merged)
    yield merged(case.x), case.plain(case.x)
    yield merged.state_dict(), case.plain.state_dict()
    for (name, ours), (_, plain) in zip(
        merged.named_parameters(), case.plain.named_parameters(), strict=True
    ):
        assert ours.requires_grad == plain.requires_grad, name
    case.loss(merged).backward()
    case.loss(case.plain).backward()
    yield flat_gradient(merged), flat_gradient(case.plain)


def averages(case: Case) -> Pairs:
    average = torch.optim.swa_utils.AveragedModel(case.net, use_buffers=True)
    for value in (1.0, 2.0):
        with torch.no_grad():
            case.net.omega.fill_(value)
        average.update_parameters(case.net)
    yield average(case.x), case.plain_at(torch.full((5,), 1.5))(case.x)


def double(case: Case) -> Pairs:
    case.net(case.x)
    case.net.double()
    case.plain.double()
    case.x = case.x.double()
    yield case.net(case.x), case.plain(case.x)
    case.loss(case.net).backward()
    yield case.net.omega.grad, case.gradient()


def checkpointed(case: Case) -> Pairs:
    expected = case.gradient()
    for reentrant in (True, False):
        case.net.zero_grad()
        checkpoint(case.net, case.x, use_reentrant=reentrant).square().sum().backward()
        yield case.net.omega.grad, expected


def autocast(case: Case) -> Pairs:
    with torch.autocast("cpu", torch.bfloat16):
        yield case.net(case.x), case.plain(case.x)
    yield case.net(case.x), case.plain(case.x)


def functional(case: Case) -> Pairs:
    omega = case.net.omega.detach().clone()

    def loss(omega: Tensor) -> Tensor:
        return case.loss(lambda x: torch.func.functional_call(case.net, {"omega": omega}, (x,)))

    yield loss(omega), case.loss(case.plain)
    yield torch.func.grad(loss)(omega), case.gradient()
    yield loss(torch.zeros(5)), case.loss(case.plain_at(torch.zeros(5)))


def second_derivatives(case: Case) -> Pairs:
    """The gradient of ½|∂L/∂ω|², which is PᵀHP ∂L/∂ω."""
    parameters = [p for p in case.plain.parameters() if p.requires_grad]
    first = torch.autograd.grad(
        case.loss(case.plain), parameters, create_graph=True, materialize_grads=True
    )
    flat = torch.cat([g.reshape(-1) for g in first])
    transpose, project = case.net.projector.transpose, case.net.projector
    along = project(transpose(flat.detach()))
    second = torch.autograd.grad(flat @ along, parameters, materialize_grads=True)
    expected = transpose(torch.cat([g.reshape(-1) for g in second]))
    (ours,) = torch.autograd.grad(case.loss(case.net), case.net.omega, create_graph=True)
    (0.5 * ours.square().sum()).backward()
    yield case.net.omega.grad, expected


USES = [
    forward, gradients, training, descent, direct_calls, hooks, names, frozen_and_back, state,
    state_on_meta, copies, merging, averages, double, checkpointed, autocast, functional,
    second_derivatives,
]  # fmt: skip
