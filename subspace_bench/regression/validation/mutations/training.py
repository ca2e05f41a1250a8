"""How it is trained: optimizer, rate, loss, gradients."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from subspace_bench.regression.validation.mutations import DIRECT, fault
from subspace_bench.regression.validation.patching import (
    change_loss,
    change_protocol,
    change_schedule,
    change_step,
    change_update,
)
from subspace_bench.training.optimizers import FullSpaceOptimizer, FusedSubspaceAdam

EPOCH = 235  # batches of MNIST
CHUNK = 16  # images


@fault()
def betas_swapped() -> None:
    """Adam's β₁ and β₂ are exchanged."""
    change_protocol(betas=lambda betas: betas[::-1])


@fault()
def rate_20_percent_high() -> None:
    """The rate is 20% too high."""
    change_protocol(lr=lambda lr: 1.2 * lr)


@fault()
def rate_20_percent_low() -> None:
    """The rate is 20% too low."""
    change_protocol(lr=lambda lr: 0.8 * lr)


@fault()
def rate_ten_times_high() -> None:
    """The rate is ten times too high."""
    change_protocol(lr=lambda lr: 10 * lr)


@fault()
def schedule_lost() -> None:
    """The rate stays at its peak."""
    change_protocol(schedule=lambda _: "constant")


@fault()
def schedule_moved_once_an_epoch() -> None:
    """The schedule counts epochs where it should count steps."""
    change_schedule(lambda plain, protocol, updates: plain(protocol, updates // EPOCH))


@fault()
def schedule_of_a_longer_training() -> None:
    """The schedule is made for eight times as many steps: the rate never comes down."""
    change_schedule(
        lambda plain, p, updates: plain(dataclasses.replace(p, steps=8 * p.steps), updates)
    )


@fault()
def a_tenth_of_the_steps_missing() -> None:
    """Training ends after nine tenths of its steps."""

    def act(run: Any, net: Any, made: Any, update: Callable[[], None]) -> None:
        if made.updates < 0.9 * run.protocol.steps:
            update()

    change_update(act)


@fault()
def eps_of_a_hundredth() -> None:
    """Adam's ε is 0.01."""
    change_protocol(eps=lambda _: 1e-2)


@fault()
def adam_without_bias_correction() -> None:
    """Adam's moments are used as they are, begun at zero."""

    def factor(plain: Callable[..., float], protocol: Any, updates: int) -> float:
        beta1, beta2 = protocol.betas
        t = updates + 1
        return plain(protocol, updates) * (1 - beta1**t) / (1 - beta2**t) ** 0.5

    change_schedule(factor)


@fault()
def sgd_in_place_of_adam() -> None:
    """The optimizer is plain SGD, at Adam's rate."""
    change_protocol(optimizer=lambda _: "sgd")


@fault()
def weight_decay_left_on() -> None:
    """An L2 term of 0.01 is left on."""
    change_protocol(weight_decay=lambda _: 1e-2)


@fault()
def resumed_without_moments() -> None:
    """A checkpoint half-way keeps parameters and step, and not Adam's moments."""

    def act(run: Any, net: Any, made: Any, update: Callable[[], None]) -> None:
        if made.updates == run.protocol.steps // 2:
            if isinstance(made, FusedSubspaceAdam):
                made.m.zero_()
                made.v.zero_()
            else:
                for state in made.optimizer.state.values():
                    state["exp_avg"].zero_()
                    state["exp_avg_sq"].zero_()
        update()

    change_update(act)


@fault()
def missing_zero_grad() -> None:
    """Gradients are summed up over steps."""

    def backward(net: Any, x: Tensor, y: Tensor) -> Tensor:
        loss = F.cross_entropy(net.module(x), y)
        loss.backward()
        return loss

    change_step(backward)


@fault()
def gradient_of_the_batch_before() -> None:
    """The optimizer moves before the gradient is there: it is always one step late."""

    def act(run: Any, net: Any, made: Any, update: Callable[[], None]) -> None:
        late = getattr(made, "late", torch.zeros_like(net.gradient))
        made.late = net.gradient.clone()
        net.gradient.copy_(late)
        update()

    change_update(act)


@fault()
def gradients_summed_in_float16() -> None:
    """A batch is taken 16 images at a time, and their gradients add up in float16."""

    def backward(net: Any, x: Tensor, y: Tensor) -> Tensor:
        total, losses = torch.zeros_like(net.gradient, dtype=torch.float16), []
        for part, labels in zip(x.split(CHUNK), y.split(CHUNK), strict=True):
            net.gradient.zero_()
            loss = F.cross_entropy(net.module(part), labels) * len(labels) / len(y)
            loss.backward()
            total += net.gradient.half()
            losses.append(loss.detach())
        net.gradient.copy_(total)
        return torch.stack(losses).sum()

    change_step(backward)


@fault()
def gradients_clipped() -> None:
    """Entries of the gradient are clipped at ±0.001."""

    def act(run: Any, net: Any, made: Any, update: Callable[[], None]) -> None:
        net.gradient.clamp_(-1e-3, 1e-3)
        update()

    change_update(act)


@fault()
def parameters_rounded_to_bfloat16() -> None:
    """θ is rounded to bfloat16 after every step."""

    def act(run: Any, net: Any, made: Any, update: Callable[[], None]) -> None:
        update()
        net.theta.copy_(net.theta.bfloat16())

    change_update(act)


@fault()
def label_smoothing_left_on() -> None:
    """The loss smooths labels by 0.3."""
    change_loss(lambda out, y: F.cross_entropy(out, y, label_smoothing=0.3))


@fault()
def class_weights_left_on() -> None:
    """The loss weighs the first class ten times."""
    weights = torch.tensor([10.0] + 9 * [1.0])
    change_loss(lambda out, y: F.cross_entropy(out, y, weights))


@fault()
def softmax_twice() -> None:
    """The loss gets probabilities for logits."""
    change_loss(lambda out, y: F.cross_entropy(out.softmax(1), y))


@fault()
def squared_error() -> None:
    """The loss is the squared error to one-hot labels."""
    change_loss(lambda out, y: F.mse_loss(out, F.one_hot(y, 10).float()))


def freeze(chosen: Callable[[list[str]], list[str]]) -> None:
    """The parameters of these names get no gradient where θ itself is trained.

    (In a subspace they would move all the same, with P.)
    """

    def act(run: Any, net: Any, made: Any, update: Callable[[], None]) -> None:
        parameters = dict(net.module.named_parameters())
        for name in chosen(list(parameters)):
            parameters[name].grad.zero_()
        update()

    change_update(act, FullSpaceOptimizer)


@fault(DIRECT)
def first_layer_never_trained() -> None:
    """The first layer gets no gradient."""
    freeze(lambda names: names[:2])


@fault(DIRECT)
def last_layer_never_trained() -> None:
    """The last layer gets no gradient."""
    freeze(lambda names: names[-2:])


@fault(DIRECT)
def biases_never_trained() -> None:
    """Biases get no gradient."""
    freeze(lambda names: [name for name in names if name.endswith("bias")])
