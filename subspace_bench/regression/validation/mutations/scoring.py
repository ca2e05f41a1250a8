"""How it is tested: which parameters, which mode, which images, which of many scores."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from subspace_bench.models import ConvPoolRelu
from subspace_bench.regression.validation.mutations import CONVOLUTIONS, FC, LITE, fault
from subspace_bench.regression.validation.patching import at_test, change_update, write

train: Any = import_module("subspace_bench.training.loop")


@fault((LITE,))
def dropout_on_at_evaluation() -> None:
    """The test is taken in training mode."""
    plain = train.evaluate

    def evaluate(module: Any, *arguments: Any) -> float:
        module.eval = module.train
        return plain(module, *arguments)

    train.evaluate = evaluate


@fault(CONVOLUTIONS)
def flattened_channels_last_at_test() -> None:
    """At the test the features of the convolutions are flattened in another order."""
    plain = train.evaluate

    def reordered(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        x = inputs[0]
        return (x.permute(0, 2, 3, 1) if x.shape[1] > 1 else x,)

    def evaluate(module: nn.Module, *arguments: Any) -> float:
        hook = module.get_submodule("flatten").register_forward_pre_hook(reordered)
        try:
            return plain(module, *arguments)
        finally:
            hook.remove()

    train.evaluate = evaluate


@fault((FC,))
def dense_weight_transposed_at_test() -> None:
    """A square weight is exported as (in, out) and read as (out, in)."""

    def change(module: nn.Module) -> None:
        for part in module.modules():
            if isinstance(part, nn.Linear) and part.in_features == part.out_features:
                part.weight.copy_(part.weight.T.clone())

    at_test(change)


@fault(CONVOLUTIONS)
def kernels_transposed_at_test() -> None:
    """Rows and columns of the convolutions' kernels are exchanged in the export."""

    def change(module: nn.Module) -> None:
        for part in module.modules():
            if isinstance(part, ConvPoolRelu):
                part.weight.copy_(part.weight.transpose(2, 3).clone())

    at_test(change)


@fault()
def biases_missing_at_test() -> None:
    """The export forgets the biases."""

    def change(module: nn.Module) -> None:
        for p in module.parameters():
            if p.ndim == 1:
                p.zero_()

    at_test(change)


@fault()
def weights_of_3_bits_at_test() -> None:
    """Weights are rounded to eight levels for the test."""

    def change(module: nn.Module) -> None:
        for p in module.parameters():
            if p.ndim > 1:
                level = p.abs().max() / 3.5
                p.copy_((p / level - 0.5).round().clamp(-4, 3).add(0.5) * level)

    at_test(change)


@fault()
def an_old_checkpoint_tested() -> None:
    """The parameters of half-way are tested."""

    def act(run: Any, net: Any, made: Any, update: Callable[[], None]) -> None:
        update()
        if made.updates == run.protocol.steps // 2:
            net.module.old = net.theta.clone()

    change_update(act)
    at_test(lambda module: write(module.old, module) if hasattr(module, "old") else None)


@fault()
def an_average_begun_too_early_tested() -> None:
    """θ's running average with decay 0.999 is tested, whose beginning is θ_init."""

    def act(run: Any, net: Any, made: Any, update: Callable[[], None]) -> None:
        if not hasattr(net.module, "average"):
            net.module.average = net.theta.clone()
        update()
        net.module.average.lerp_(net.theta, 1 - 0.999)

    change_update(act)
    at_test(lambda module: write(module.average, module))


@fault()
def tested_on_the_first_tenth() -> None:
    """Only the first tenth of the test images is scored."""
    plain = train.evaluate
    train.evaluate = lambda m, x, y, scale: plain(m, x[: len(x) // 10], y[: len(y) // 10], scale)


@fault()
def tested_on_training_images() -> None:
    """As many training images are scored as there are test images."""

    def scored_images(run: Any, dataset: Any) -> tuple[Tensor, Tensor]:
        count = len(dataset.test_labels)
        return dataset.train_images[:count], dataset.train_labels[:count]

    train.scored_images = scored_images


@fault()
def stopped_early_on_the_test_set() -> None:
    """The best of eleven scores over the last fifth counts, and the test set picks it."""
    prepare, scored_images, evaluate = train.prepare, train.scored_images, train.evaluate
    test: list[Any] = []  # of the run that is training
    best = [0.0]

    def begun(run: Any) -> Any:
        test.clear()
        best[0] = 0.0
        return prepare(run)

    def seen(run: Any, dataset: Any) -> tuple[Tensor, Tensor]:
        images = scored_images(run, dataset)
        test[:] = (*images, run.protocol.scale)
        return images

    def act(run: Any, net: Any, made: Any, update: Callable[[], None]) -> None:
        update()
        steps = run.protocol.steps
        if test and made.updates >= 0.8 * steps and made.updates % max(1, steps // 50) == 0:
            with torch.no_grad():
                best[0] = max(best[0], evaluate(net.module, *test))

    train.prepare, train.scored_images = begun, seen
    change_update(act)
    train.evaluate = lambda *arguments: max(evaluate(*arguments), best[0])
