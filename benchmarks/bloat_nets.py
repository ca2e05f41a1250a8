"""The nets of results/bloat.md, each as a task for the search of its intrinsic dimension.

Protocol, fixed before the runs: MNIST-5k (4,000 training and 1,000 test images, which ship with a
dependency), and as many of Fashion-MNIST; EPOCHS epochs in batches of BATCH, Adam on a one-cycle
schedule. Its peak is RATE in a
subspace, the recipe of `Subspace`, and PLAIN_RATE without one. Target: 90% of the net's own mean
accuracy.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from subspace_bench import Subspace, models
from subspace_bench.datasets.loading import load
from subspace_bench.dimension.task import Task
from subspace_bench.experiments import published

DATASETS = ("mnist-5k", "fashion-mnist")
IMAGES, TEST_IMAGES = 4_000, 1_000
EPOCHS, BATCH = 5, 100
RATE, PLAIN_RATE = 0.2, 2e-3


def resnet20() -> nn.Module:
    """He et al. 2016, section 4.2, for one input channel: 272,186 parameters."""
    from torchvision.models.resnet import BasicBlock  # imported here because it takes seconds

    def stage(before: int, width: int) -> list[nn.Module]:
        stride, shortcut = (1, None) if before == width else (2, _shortcut(before, width))
        first = BasicBlock(before, width, stride, shortcut)
        return [first, BasicBlock(width, width), BasicBlock(width, width)]

    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        *stage(16, 16), *stage(16, 32), *stage(32, 64),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def _shortcut(before: int, width: int) -> nn.Module:
    convolution = nn.Conv2d(before, width, 1, stride=2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width))


def narrow_vgg() -> nn.Module:
    """VGG-11 with BatchNorm at a quarter of its widths, without its two wide dense layers."""
    from torchvision.models.vgg import make_layers

    plan: list[str | int] = [16, "M", 32, "M", 64, 64, "M", 128, 128, "M", 128, 128]
    first = nn.Conv2d(1, 3, 1)  # torchvision's layers take three channels
    return nn.Sequential(
        first, make_layers(plan, batch_norm=True),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip


TITLES = {
    str(row["model"]): str(row["author"]) for row in published.load("post")["tutorials"]["rows"]
}
NETS: dict[str, Callable[[], nn.Module]] = {
    **{name: functools.partial(models.build, name) for name in TITLES},
    "fc": functools.partial(models.build, "fc"),
    "narrow vgg-11": narrow_vgg,
    "resnet-20": resnet20,
}


def task(net: str, dataset: str) -> Task:
    """Test accuracy in %."""
    name = net if dataset == DATASETS[0] else f"{net} {dataset}"
    return Task(name, lambda seed: NETS[net](), lambda module, seed: fit(module, dataset))


@functools.cache
def _data(dataset: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    data = load(dataset)
    images = [
        (x.float()[:, None] / 255 - 0.1307) / 0.3081
        for x in (data.train_images[:IMAGES], data.test_images[:TEST_IMAGES])
    ]
    return images[0], data.train_labels[:IMAGES], images[1], data.test_labels[:TEST_IMAGES]


def fit(net: nn.Module, dataset: str) -> float:
    """Trains on permutations of the images; returns the test accuracy in %."""
    images, labels, test_images, test_labels = _data(dataset)
    parameters = [p for p in net.parameters() if p.requires_grad]
    rate = RATE if isinstance(net, Subspace) else PLAIN_RATE
    optimizer = torch.optim.Adam(parameters, rate)
    steps = EPOCHS * len(labels) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for _ in range(EPOCHS):
        for batch in torch.split(torch.randperm(len(labels)), BATCH):
            optimizer.zero_grad()
            cross_entropy(net(images[batch]), labels[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    net.eval()
    with torch.no_grad():
        answers = torch.cat([net(part).argmax(1) for part in torch.split(test_images, 500)])
    return 100 * float((answers == test_labels).double().mean())
