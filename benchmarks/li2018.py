"""The tasks of Li et al. 2018, "Measuring the Intrinsic Dimension of Objective Landscapes": MNIST.

Their protocol, as their public code has it: he-normal weights, zero biases, the first 50,000
training images, batches of 128, Adam at 10⁻³ with β = (0.9, 0.99), 100 epochs, accuracy on the test
images; θ = θ₀ + Pω with columns of norm 1. Left out: their L2 penalty of 10⁻⁴ on the kernels.

Ours is shorter: EPOCHS epochs at a rate that is larger by the same factor. Criterion, fixed before
the runs: it counts as equivalent if, for the fully connected net at d = 750 and LeNet at d = 290,
its mean accuracy over 3 seeds differs by at most 0.5 points from the mean of 100 epochs.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from subspace_bench.datasets.loading import load
from subspace_bench.dimension.task import Task
from subspace_bench.models import li2018, post

EPOCHS, LONG_EPOCHS = 10, 100
RATE = 1e-3 * LONG_EPOCHS / EPOCHS
TRAINED, BATCH = 50_000, 128
FASHION = "fashion-mnist"
NETS: dict[str, Callable[[], nn.Module]] = {
    "fc": post.fc,
    "lenet": li2018.lenet,
    "untied-lenet": li2018.untied_lenet,
    "fc-lenet": li2018.fc_lenet,
    "fc-tied-lenet": li2018.fc_tied_lenet,
}


@dataclass(frozen=True)
class Case:
    """One search.

    Attributes:
        net: of NETS.
        projector: name of P.
        shuffled: whether one permutation moves the pixels of all images.
        epochs: EPOCHS, or LONG_EPOCHS to compare with.
        dataset: "mnist" or "fashion-mnist".
    """

    net: str
    projector: str = "hashed"
    shuffled: bool = False
    epochs: int = EPOCHS
    dataset: str = "mnist"

    @property
    def name(self) -> str:
        pixels = " shuffled" if self.shuffled else ""
        dataset = "" if self.dataset == "mnist" else f" {self.dataset}"
        return f"{self.net} {self.projector}{pixels} {self.epochs}{dataset}"

    def task(self) -> Task:
        """Accuracy on the test images, in %."""

        def build(seed: int) -> nn.Module:
            return initialise(NETS[self.net]())

        def train(net: nn.Module, seed: int) -> float:
            return fit(net, data(self.dataset, self.shuffled), self.epochs)

        return Task(self.name, build, train)


CASES = (  # in order of importance
    Case("fc"),
    Case("lenet"),
    Case("fc", "sparse"),
    Case("lenet", "sparse"),
    Case("fc", "fastfood"),
    Case("lenet", "gaussian-unit"),
    Case("fc", shuffled=True),
    Case("lenet", shuffled=True),
    Case("fc", dataset=FASHION),
    Case("lenet", dataset=FASHION),
    Case("untied-lenet"),
    Case("fc-lenet"),
    Case("fc-tied-lenet"),
)
COMPARED = {"fc": 750, "lenet": 290}  # d at which the two lengths are compared
SEEDS = 3


def initialise(module: nn.Module) -> nn.Module:
    """Fills weights with N(0, 2/fan_in) and biases with 0, from the global generator."""
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        else:
            last = parameter.ndim == 3  # an untied convolution: (positions, out, fan_in)
            fan_in = parameter.shape[2] if last else math.prod(parameter.shape[1:])
            nn.init.normal_(parameter, std=math.sqrt(2 / fan_in))
    return module


@functools.cache
def data(dataset: str, shuffled: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images in [0, 1] and labels: training, test."""
    found = load(dataset)
    images = [x.float()[:, None] / 255 for x in (found.train_images[:TRAINED], found.test_images)]
    if shuffled:
        order = torch.randperm(784, generator=torch.Generator().manual_seed(0))
        images = [x.flatten(1)[:, order].view_as(x) for x in images]
    return images[0], found.train_labels[:TRAINED], images[1], found.test_labels


def fit(net: nn.Module, data: tuple[Tensor, Tensor, Tensor, Tensor], epochs: int) -> float:
    """Trains on permutations of the images; returns the test accuracy in %."""
    images, labels, test_images, test_labels = data
    rate = RATE * EPOCHS / epochs
    parameters = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, rate, betas=(0.9, 0.99))
    for _ in range(epochs):
        for batch in torch.split(torch.randperm(len(labels)), BATCH):
            optimizer.zero_grad()
            cross_entropy(net(images[batch]), labels[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    with torch.no_grad():
        answers = torch.cat([net(part).argmax(1) for part in torch.split(test_images, 1_000)])
    return 100 * float((answers == test_labels).double().mean())
