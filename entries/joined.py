"""Pixels and edges of deskewed images, and the convolutions that see both."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from entries.oriented import deskew, oriented
from entries.training import PIXELS, he_normal

CELL = 2  # pixels
EDGES, BRIGHT = 0.5, 2.0  # factors that bring both to about the same size
DEGREES, SCALE, MOVE = 10.0, 0.1, 2.0  # the most by which an image is turned, scaled, moved
BEND, KNOTS = 0.6, 6  # pixels (a standard deviation), and on how many points a side


def joined(images: Tensor) -> Tensor:
    """Oriented gradients (8 channels) and pixels (4) of cells of 2×2.

    (n, 1, 28, 28) → (n, 12, 14, 14).
    """
    straight = deskew(images)
    edges = oriented(straight, CELL, CELL, deskewed=False)
    return torch.cat([EDGES * edges, BRIGHT * F.pixel_unshuffle(straight, CELL)], 1)


def augmented(images: Tensor, random: torch.Generator) -> Tensor:
    """`joined` of images that were turned, scaled, moved and bent.

    Bent as Simard et al. do (ICDAR 2003), by random shifts that vary smoothly over the image.
    """
    count = len(images)
    turn, size, x, y = 2 * torch.rand(4, count, generator=random) - 1
    angle, size, move = turn * math.radians(DEGREES), 1 + SCALE * size, MOVE * 2 / PIXELS
    cos, sin = angle.cos() * size, angle.sin() * size
    rows = [torch.stack(row, 1) for row in ([cos, -sin, x * move], [sin, cos, y * move])]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    knots = torch.randn(count, 2, KNOTS, KNOTS, generator=random) * BEND * 2 / PIXELS
    shifts = F.interpolate(knots, size=PIXELS, mode="bicubic", align_corners=True)
    grid = (grid + shifts.permute(0, 2, 3, 1)).to(images.device)
    return joined(F.grid_sample(images, grid, align_corners=False))


def convolutions() -> nn.Sequential:
    """A net of 43,314 parameters that sees what `joined` makes."""
    net = nn.Sequential(
        nn.Conv2d(12, 24, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(24, 48, 3, padding=1), nn.ReLU(),
        nn.Conv2d(48, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip
    he_normal(net)
    return net
