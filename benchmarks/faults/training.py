"""How it is trained: optimizer, loss, gradients."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from benchmarks.faults import ALL, fault

optimizers: Any = import_module("subspace_bench.optimizers")
train: Any = import_module("subspace_bench.train")


def change_protocol(**changes: Callable[[Any], Any]) -> None:
    """The optimizer is made from another protocol than the run says."""
    plain = train.make_optimizer

    def make(run: Any, net: Any) -> Any:
        new = {name: change(getattr(run.protocol, name)) for name, change in changes.items()}
        return plain(
            dataclasses.replace(run, protocol=dataclasses.replace(run.protocol, **new)), net
        )

    train.make_optimizer = make


@fault(ALL)
def betas_swapped() -> None:
    """Adam's β₁ and β₂ are exchanged."""
    change_protocol(betas=lambda betas: betas[::-1])


@fault(ALL)
def rate_20_percent_high() -> None:
    """The rate is 20% too high."""
    change_protocol(lr=lambda lr: 1.2 * lr)


@fault(ALL)
def rate_20_percent_low() -> None:
    """The rate is 20% too low."""
    change_protocol(lr=lambda lr: 0.8 * lr)


@fault(ALL)
def rate_halved() -> None:
    """The rate is half of what it should be."""
    change_protocol(lr=lambda lr: 0.5 * lr)


@fault(ALL)
def rate_ten_times_high() -> None:
    """The rate is ten times too high."""
    change_protocol(lr=lambda lr: 10 * lr)


@fault(ALL)
def schedule_lost() -> None:
    """The rate stays at its peak."""
    change_protocol(schedule=lambda _: "constant")


@fault(ALL)
def eps_of_a_hundredth() -> None:
    """Adam's ε is 0.01."""
    change_protocol(eps=lambda _: 1e-2)


@fault()
def weight_decay_left_on() -> None:
    """An L2 term of 0.01 is left on."""
    change_protocol(weight_decay=lambda _: 1e-2)


@fault(ALL)
def missing_zero_grad() -> None:
    """Gradients are summed up over steps."""

    def step(net: Any, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
        net.module.train()
        loss = nn.functional.cross_entropy(net.module(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    train.step = step


def after_step(act: Callable[[Any, int], None]) -> None:
    """Something is done to θ or its optimizer after each step."""
    plain, count = train.step, [0]

    def step(net: Any, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
        loss = plain(net, optimizer, x, y)
        count[0] += 1
        act((net, optimizer), count[0])
        return loss

    train.step = step


@fault()
def parameters_rounded_to_bfloat16() -> None:
    """θ is kept in bfloat16."""
    after_step(lambda s, _: s[0].theta.copy_(s[0].theta.bfloat16().float()))


@fault(ALL)
def gradients_in_float16() -> None:
    """The loss is summed and the gradient kept in float16, small parts of it lost."""

    def step(net: Any, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
        net.module.train()
        net.gradient.zero_()
        loss = nn.functional.cross_entropy(net.module(x), y)
        loss.backward()
        net.gradient.copy_((net.gradient / 256).half().float() * 256)
        optimizer.step()
        return loss.detach()

    train.step = step


@fault()
def label_smoothing_left_on() -> None:
    """The loss smooths labels by 0.3."""
    replace_loss(lambda out, y: nn.functional.cross_entropy(out, y, label_smoothing=0.3))


@fault()
def softmax_twice() -> None:
    """The loss gets probabilities for logits."""
    replace_loss(lambda out, y: nn.functional.cross_entropy(out.softmax(1), y))


@fault()
def squared_error() -> None:
    """The loss is the squared error to one-hot labels."""
    replace_loss(lambda out, y: nn.functional.mse_loss(out, nn.functional.one_hot(y, 10).float()))


def replace_loss(loss_of: Callable[[Tensor, Tensor], Tensor]) -> None:
    def step(net: Any, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
        net.module.train()
        net.gradient.zero_()
        loss = loss_of(net.module(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    train.step = step


def mask_gradient(keep: Callable[[str, Tensor], bool]) -> None:
    """Parameters for which `keep` says no get no gradient."""
    plain = optimizers.make_optimizer

    def make(run: Any, net: Any) -> Any:
        made = plain(run, net)
        step = made.step

        def masked() -> None:
            for name, p in net.module.named_parameters():
                if not keep(name, p):
                    assert p.grad is not None
                    p.grad.zero_()
            step()

        made.step = masked
        return made

    train.make_optimizer = make


@fault()
def first_layer_never_trained() -> None:
    """The first layer gets no gradient."""
    mask_gradient(lambda name, _: not name.startswith(("conv1", "fc1")))


@fault()
def last_layer_never_trained() -> None:
    """The last layer gets no gradient."""
    mask_gradient(lambda name, _: not name.startswith(("fc2", "fc3")))


@fault()
def biases_never_trained() -> None:
    """Biases get no gradient."""
    mask_gradient(lambda name, _: not name.endswith("bias"))
