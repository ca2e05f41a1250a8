"""What several entries share: a training loop and augmentation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BATCH = 256
WARM_UP = 0.2  # share of the steps until the peak rate
PIXELS = 28


def fit(
    net: nn.Module,
    parameters: list[Tensor],
    images: Tensor,
    labels: Tensor,
    seed: int,
    *,
    epochs: int,
    peak: float,
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    schedule: Callable[[float], float] | None = None,
    before: Callable[[int, int], None] = lambda step, steps: None,
    after_gradient: Callable[[], None] = lambda: None,
) -> None:
    """Adam with betas (0.9, 0.99), a linear warm-up to `peak` and a cosine to zero.

    Arguments:
        images: (n, 1, 28, 28), 0 … 1.
        augment: images and a random stream → images.
        schedule: share of the steps → factor of the peak rate; `one_cycle` by default.
        before: called before each step with its number and the number of steps.
        after_gradient: called before each update.
    """
    random = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(parameters, peak, betas=(0.9, 0.99))
    steps = epochs * (len(images) // BATCH)
    net.train()
    for step, chosen in zip(range(steps), batches(len(images), random), strict=False):
        before(step, steps)
        x = images[chosen]
        if augment is not None:
            x = augment(x, random)
        optimizer.param_groups[0]["lr"] = peak * (schedule or one_cycle)(step / steps)
        optimizer.zero_grad()
        F.cross_entropy(net(x), labels[chosen]).backward()  # type: ignore[no-untyped-call]
        after_gradient()
        optimizer.step()


def he_normal(net: nn.Module) -> None:
    """He et al. 2015 (arXiv 1502.01852): weights of variance 2 / fan-in, biases 0."""
    for parameter in net.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter)
        else:
            nn.init.zeros_(parameter)


def batches(count: int, random: torch.Generator) -> Iterator[Tensor]:
    """Indices of endless shuffled passes; an incomplete batch is left out."""
    while True:
        order = torch.randperm(count, generator=random)
        yield from torch.split(order[: count - count % BATCH], BATCH)


def one_cycle(share: float) -> float:
    """The rate's factor when `share` of the steps are done."""
    if share < WARM_UP:
        return share / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP)))


def shift(images: Tensor, random: torch.Generator, pixels: int = 1) -> Tensor:
    """Moves each image by up to `pixels` in each direction; zeros come in."""
    count, reach = len(images), torch.arange(PIXELS)
    corner = torch.randint(2 * pixels + 1, (2, count, 1), generator=random) + reach
    rows, columns = corner.to(images.device)
    padded = F.pad(images, (pixels,) * 4)[:, 0]
    each = torch.arange(count, device=images.device)[:, None, None]
    return padded[each, rows[:, :, None], columns[:, None, :]][:, None]


def affine(
    images: Tensor, random: torch.Generator, degrees: float = 10.0, scale: float = 0.1
) -> Tensor:
    """Turns by up to `degrees`, scales by up to `scale`, moves by up to two pixels."""
    turn, size, x, y = 2 * torch.rand(4, len(images), generator=random) - 1
    angle = turn * math.radians(degrees)
    cos, sin = angle.cos() * (1 + scale * size), angle.sin() * (1 + scale * size)
    move = 2 * 2 / PIXELS
    return resample(images, [[cos, -sin, x * move], [sin, cos, y * move]])


def resample(images: Tensor, rows: list[list[Tensor]]) -> Tensor:
    """Moves the images by affine maps, one an image; linear interpolation."""
    matrix = torch.stack([torch.stack(row, 1) for row in rows], 1).to(images.device)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
