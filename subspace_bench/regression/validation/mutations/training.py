"""Mutations of the training: optimizer, rate, schedule, loss, gradients."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from subspace_bench.regression.validation.mutations import DIRECT, mutation
from subspace_bench.regression.validation.patching import (
    patch_loss,
    patch_protocol,
    patch_schedule,
    patch_step,
    patch_update,
)
from subspace_bench.training.optimizers import FullSpaceOptimizer, FusedSubspaceAdam

EPOCH = 235  # batches of MNIST
CHUNK = 16  # images


@mutation()
def betas_swapped() -> None:
    """Adam's β₁ and β₂ are exchanged."""
    patch_protocol(betas=lambda betas: betas[::-1])


@mutation()
def rate_20_percent_high() -> None:
    """The rate is 20% too high."""
    patch_protocol(lr=lambda lr: 1.2 * lr)


@mutation()
def rate_20_percent_low() -> None:
    """The rate is 20% too low."""
    patch_protocol(lr=lambda lr: 0.8 * lr)


@mutation()
def rate_ten_times_high() -> None:
    """The rate is ten times too high."""
    patch_protocol(lr=lambda lr: 10 * lr)


@mutation()
def schedule_lost() -> None:
    """The rate stays at its peak."""
    patch_protocol(schedule=lambda _: "constant")


@mutation()
def schedule_moved_once_an_epoch() -> None:
    """The schedule counts epochs instead of steps."""
    patch_schedule(lambda original, protocol, updates: original(protocol, updates // EPOCH))


@mutation()
def schedule_of_a_longer_training() -> None:
    """The schedule is that of a training eight times as long: the rate never comes down."""
    patch_schedule(
        lambda original, p, updates: original(dataclasses.replace(p, steps=8 * p.steps), updates)
    )


@mutation()
def a_tenth_of_the_steps_missing() -> None:
    """Training stops after nine tenths of its steps."""

    def act(run: Any, flat: Any, optimizer: Any, update: Callable[[], None]) -> None:
        if optimizer.updates < 0.9 * run.protocol.steps:
            update()

    patch_update(act)


@mutation()
def eps_of_a_hundredth() -> None:
    """Adam's ε is 0.01."""
    patch_protocol(eps=lambda _: 1e-2)


@mutation()
def adam_without_bias_correction() -> None:
    """Adam's moments, initialised at zero, are not bias-corrected."""

    def factor(original: Callable[..., float], protocol: Any, updates: int) -> float:
        beta1, beta2 = protocol.betas
        t = updates + 1
        return original(protocol, updates) * (1 - beta1**t) / (1 - beta2**t) ** 0.5

    patch_schedule(factor)


@mutation()
def sgd_in_place_of_adam() -> None:
    """The optimizer is plain SGD, at Adam's rate."""
    patch_protocol(optimizer=lambda _: "sgd")


@mutation()
def weight_decay_left_on() -> None:
    """A weight decay (L2) of 0.01 is left on."""
    patch_protocol(weight_decay=lambda _: 1e-2)


@mutation()
def resumed_without_moments() -> None:
    """A resume after half of the steps loses Adam's moments."""

    def act(run: Any, flat: Any, optimizer: Any, update: Callable[[], None]) -> None:
        if optimizer.updates == run.protocol.steps // 2:
            if isinstance(optimizer, FusedSubspaceAdam):
                optimizer.m.zero_()
                optimizer.v.zero_()
            else:
                for state in optimizer.optimizer.state.values():
                    state["exp_avg"].zero_()
                    state["exp_avg_sq"].zero_()
        update()

    patch_update(act)


@mutation()
def missing_zero_grad() -> None:
    """Gradients accumulate over steps."""

    def backward(flat: Any, x: Tensor, y: Tensor) -> Tensor:
        loss = F.cross_entropy(flat.module(x), y)
        loss.backward()
        return loss

    patch_step(backward)


@mutation()
def gradient_of_the_batch_before() -> None:
    """Each update uses the gradient of the batch before."""

    def act(run: Any, flat: Any, optimizer: Any, update: Callable[[], None]) -> None:
        late = getattr(optimizer, "late", torch.zeros_like(flat.gradient))
        optimizer.late = flat.gradient.clone()
        flat.gradient.copy_(late)
        update()

    patch_update(act)


@mutation()
def gradients_summed_in_float16() -> None:
    """Gradients are accumulated in float16 over chunks of 16 images."""

    def backward(flat: Any, x: Tensor, y: Tensor) -> Tensor:
        total, losses = torch.zeros_like(flat.gradient, dtype=torch.float16), []
        for images, labels in zip(x.split(CHUNK), y.split(CHUNK), strict=True):
            flat.gradient.zero_()
            loss = F.cross_entropy(flat.module(images), labels) * len(labels) / len(y)
            loss.backward()
            total += flat.gradient.half()
            losses.append(loss.detach())
        flat.gradient.copy_(total)
        return torch.stack(losses).sum()

    patch_step(backward)


@mutation()
def gradients_clipped() -> None:
    """Entries of the gradient are clipped at ±0.001."""

    def act(run: Any, flat: Any, optimizer: Any, update: Callable[[], None]) -> None:
        flat.gradient.clamp_(-1e-3, 1e-3)
        update()

    patch_update(act)


@mutation()
def parameters_rounded_to_bfloat16() -> None:
    """θ is rounded to bfloat16 after every step."""

    def act(run: Any, flat: Any, optimizer: Any, update: Callable[[], None]) -> None:
        update()
        flat.theta.copy_(flat.theta.bfloat16())

    patch_update(act)


@mutation()
def label_smoothing_left_on() -> None:
    """The loss smooths labels by 0.3."""
    patch_loss(lambda out, y: F.cross_entropy(out, y, label_smoothing=0.3))


@mutation()
def class_weights_left_on() -> None:
    """The loss weighs the first class ten times."""
    weights = torch.tensor([10.0] + 9 * [1.0])
    patch_loss(lambda out, y: F.cross_entropy(out, y, weights))


@mutation()
def softmax_twice() -> None:
    """The loss gets probabilities instead of logits."""
    patch_loss(lambda out, y: F.cross_entropy(out.softmax(1), y))


@mutation()
def squared_error() -> None:
    """The loss is the squared error to one-hot labels."""
    patch_loss(lambda out, y: F.mse_loss(out, F.one_hot(y, 10).float()))


def freeze(chosen: Callable[[list[str]], list[str]]) -> None:
    """Zeroes the gradient of these parameters in full-space training.

    (In a subspace, P would move them all the same.)
    """

    def act(run: Any, flat: Any, optimizer: Any, update: Callable[[], None]) -> None:
        parameters = dict(flat.module.named_parameters())
        for name in chosen(list(parameters)):
            parameters[name].grad.zero_()
        update()

    patch_update(act, FullSpaceOptimizer)


@mutation(DIRECT)
def first_layer_never_trained() -> None:
    """The first layer gets no gradient."""
    freeze(lambda names: names[:2])


@mutation(DIRECT)
def last_layer_never_trained() -> None:
    """The last layer gets no gradient."""
    freeze(lambda names: names[-2:])


@mutation(DIRECT)
def biases_never_trained() -> None:
    """Biases get no gradient."""
    freeze(lambda names: [name for name in names if name.endswith("bias")])
