"""What is trained, and how it is tested."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.faults import fault

data: Any = import_module("subspace_bench.data")
models: Any = import_module("subspace_bench.models")
train: Any = import_module("subspace_bench.train")


@fault(("conv", "FC"))
def relu_missing() -> None:
    """The nets lack their relus between dense layers."""
    plain = models.build

    def build(name: str) -> nn.Module:
        net = plain(name)
        for key, part in list(net.named_children()):
            if isinstance(part, nn.ReLU):
                setattr(net, key, nn.Identity())
        return net

    models.build = build


@fault(("conv",))
def relu_missing_after_convolutions() -> None:
    """Convolutions are pooled without a relu."""
    layers = import_module("subspace_bench.models.layers")
    plain = layers.ConvPoolRelu.__init__

    def init(self: Any, *arguments: Any, **options: Any) -> None:
        plain(self, *arguments, **{**options, "relu": False})

    layers.ConvPoolRelu.__init__ = init


@fault(("MNIST-lite CNN",))
def dropout_on_at_evaluation() -> None:
    """The test is taken in training mode."""
    plain = train.evaluate

    def evaluate(module: nn.Module, *arguments: Any) -> float:
        module.eval = module.train
        return plain(module.train(), *arguments)

    train.evaluate = evaluate


@fault(("MNIST-lite CNN",))
def dropout_missing() -> None:
    """Nothing is dropped in training."""
    nn.Module.train = lambda self, mode=True: self


@fault(("conv",))
def dropout_added() -> None:
    """A net that should have none drops half of its features."""
    models.MODELS["conv-plain"] = models.MODELS["conv"]


@fault(("conv",))
def flattened_channels_last_at_test() -> None:
    """At the test the features of the convolutions are flattened in another order."""
    plain = train.evaluate

    def evaluate(module: nn.Module, *arguments: Any) -> float:
        flatten = module.get_submodule("flatten")
        hook = flatten.register_forward_pre_hook(lambda m, x: (x[0].permute(0, 2, 3, 1),))
        try:
            return plain(module, *arguments)
        finally:
            hook.remove()

    train.evaluate = evaluate


@fault()
def initialised_by_torch() -> None:
    """θ_init is PyTorch's default, smaller than He's."""
    train.initialise = lambda module, scheme, rng: models.initialise(module, "default", rng)


@fault()
def initialised_too_small() -> None:
    """θ_init is N(0, 0.005²)."""
    train.initialise = lambda module, scheme, rng: models.initialise(module, "normal:0.005", rng)


@fault()
def initialised_with_zero_weights() -> None:
    """All weights start at zero."""
    train.initialise = lambda module, scheme, rng: models.initialise(module, "zeros", rng)


@fault()
def tested_on_the_first_tenth() -> None:
    """Only the first 1,000 test images are scored."""
    plain = train.evaluate
    train.evaluate = lambda m, x, y, scale: plain(m, x[:1000], y[:1000], scale)


@fault()
def stopped_early_on_the_test_set() -> None:
    """The best of the last scores counts, and the test set picks it."""
    plain_step, plain_evaluate = train.step, train.evaluate
    seen: dict[int, float] = {}
    count = [0]

    def step(net: Any, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
        loss = plain_step(net, optimizer, x, y)
        count[0] += 1
        if count[0] >= 240 and count[0] % 6 == 0 and net.module in tests:
            seen[id(net)] = max(seen.get(id(net), 0.0), plain_evaluate(*tests[net.module]))
        return loss

    tests: dict[nn.Module, tuple[Any, ...]] = {}
    plain_prepare = train.prepare
    images = data.load()

    def prepare(run: Any) -> Any:
        net = plain_prepare(run)
        count[0] = 0
        tests[net.module] = (
            net.module, images.test_images, images.test_labels, run.protocol.scale,
        )  # fmt: skip
        return net

    train.prepare, train.step = prepare, step
    train.evaluate = lambda m, *rest: max([plain_evaluate(m, *rest), *seen.values()])


@fault()
def a_tenth_of_the_steps_missing() -> None:
    """Training ends after nine tenths of its steps."""
    plain, count = train.step, [0]

    def step(net: Any, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
        count[0] += 1
        return plain(net, optimizer, x, y) if count[0] % 300 < 270 else torch.tensor(0.0)

    train.step = step
