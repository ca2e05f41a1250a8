"""Mutations of the evaluation: which parameters, mode, images and scores count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from subspace_bench.models import ConvPoolRelu
from subspace_bench.regression.validation.mutations import CONVOLUTIONS, FC, LITE, mutation
from subspace_bench.regression.validation.patching import (
    loop,
    patch_evaluation,
    patch_update,
    set_parameters,
)


@mutation((LITE,))
def dropout_on_at_evaluation() -> None:
    """The test runs in training mode."""
    original = loop.evaluate

    def evaluate(module: Any, *args: Any) -> float:
        module.eval = module.train
        return original(module, *args)

    loop.evaluate = evaluate


@mutation(CONVOLUTIONS)
def flattened_channels_last_at_test() -> None:
    """In the test, convolutional features are flattened channels last."""
    original = loop.evaluate

    def reordered(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        x = inputs[0]
        return (x.permute(0, 2, 3, 1) if x.shape[1] > 1 else x,)

    def evaluate(module: nn.Module, *args: Any) -> float:
        hook = module.get_submodule("flatten").register_forward_pre_hook(reordered)
        try:
            return original(module, *args)
        finally:
            hook.remove()

    loop.evaluate = evaluate


@mutation((FC,))
def dense_weight_transposed_at_test() -> None:
    """A square weight is exported as (in, out) and read as (out, in)."""

    def change(module: nn.Module) -> None:
        for part in module.modules():
            if isinstance(part, nn.Linear) and part.in_features == part.out_features:
                part.weight.copy_(part.weight.T.clone())

    patch_evaluation(change)


@mutation(CONVOLUTIONS)
def kernels_transposed_at_test() -> None:
    """The export swaps rows and columns of convolution kernels."""

    def change(module: nn.Module) -> None:
        for part in module.modules():
            if isinstance(part, ConvPoolRelu):
                part.weight.copy_(part.weight.transpose(2, 3).clone())

    patch_evaluation(change)


@mutation()
def biases_missing_at_test() -> None:
    """The export forgets the biases."""

    def change(module: nn.Module) -> None:
        for p in module.parameters():
            if p.ndim == 1:
                p.zero_()

    patch_evaluation(change)


@mutation()
def weights_of_3_bits_at_test() -> None:
    """Weights are rounded to eight levels for the test."""

    def change(module: nn.Module) -> None:
        for p in module.parameters():
            if p.ndim > 1:
                level = p.abs().max() / 3.5
                p.copy_((p / level - 0.5).round().clamp(-4, 3).add(0.5) * level)

    patch_evaluation(change)


@mutation()
def an_old_checkpoint_tested() -> None:
    """The parameters after half of the steps are tested."""

    def act(run: Any, flat: Any, optimizer: Any, update: Callable[[], None]) -> None:
        update()
        if optimizer.updates == run.protocol.steps // 2:
            flat.module.old = flat.theta.clone()

    patch_update(act)
    patch_evaluation(
        lambda module: set_parameters(module.old, module) if hasattr(module, "old") else None
    )


@mutation()
def an_average_begun_too_early_tested() -> None:
    """A running average of θ, decay 0.999, is tested; it starts at θ_init."""

    def act(run: Any, flat: Any, optimizer: Any, update: Callable[[], None]) -> None:
        if not hasattr(flat.module, "average"):
            flat.module.average = flat.theta.clone()
        update()
        flat.module.average.lerp_(flat.theta, 1 - 0.999)

    patch_update(act)
    patch_evaluation(lambda module: set_parameters(module.average, module))


@mutation()
def tested_on_the_first_tenth() -> None:
    """Only the first tenth of the test images is scored."""
    original = loop.evaluate
    loop.evaluate = lambda m, x, y, scale: original(m, x[: len(x) // 10], y[: len(y) // 10], scale)


@mutation()
def tested_on_training_images() -> None:
    """Training images are scored instead of test images."""

    def scored_images(run: Any, dataset: Any) -> tuple[Tensor, Tensor]:
        count = len(dataset.test_labels)
        return dataset.train_images[:count], dataset.train_labels[:count]

    loop.scored_images = scored_images


@mutation()
def stopped_early_on_the_test_set() -> None:
    """The best of eleven test scores over the last fifth of the steps is reported."""
    prepare, scored_images, evaluate = loop.prepare, loop.scored_images, loop.evaluate
    test: list[Any] = []  # arguments of evaluate for the current run
    best = [0.0]

    def prepare_and_reset(run: Any) -> Any:
        test.clear()
        best[0] = 0.0
        return prepare(run)

    def record_images(run: Any, dataset: Any) -> tuple[Tensor, Tensor]:
        images = scored_images(run, dataset)
        test[:] = (*images, run.protocol.scale)
        return images

    def act(run: Any, flat: Any, optimizer: Any, update: Callable[[], None]) -> None:
        update()
        steps = run.protocol.steps
        if (
            test
            and optimizer.updates >= 0.8 * steps
            and optimizer.updates % max(1, steps // 50) == 0
        ):
            with torch.no_grad():
                best[0] = max(best[0], evaluate(flat.module, *test))

    loop.prepare, loop.scored_images = prepare_and_reset, record_images
    patch_update(act)
    loop.evaluate = lambda *args: max(evaluate(*args), best[0])
