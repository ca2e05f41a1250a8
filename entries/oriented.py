"""Oriented gradients of deskewed images: a front end that follows from code, so it learns nothing.

Histograms of oriented gradients (Dalal and Triggs, CVPR 2005) with soft bins.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from entries.training import PIXELS, affine, resample

ORIENTATIONS = 8
PART = 1_000  # images at a time: bounds the memory


class Behind(nn.Module):
    """`inner` behind a front end without numbers.

    An entry without augmentation trains `inner` on what `front` makes of the images once.
    """

    def __init__(self, front: Callable[[Tensor], Tensor], inner: nn.Module) -> None:
        super().__init__()
        self.front, self.inner = front, inner

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.inner(self.front(x))
        return result


def oriented(images: Tensor, cell: int, stride: int, deskewed: bool = True) -> Tensor:
    """How strong edges of each orientation are, in cells of the images.

    Arguments:
        images: (n, 1, 28, 28), 0 … 1.
        cell: width of the square over which is averaged, in pixels.
        stride: between two cells.
        deskewed: whether the images are deskewed first.

    Returns:
        (n, 8, m, m), m = (28 - cell) // stride + 1; the root of the strength, divided by the root
        mean square over the cells of an image; less its mean over the image, times 3, which makes
        its deviation about 1.
    """
    parts = torch.split(images, PART)
    return torch.cat([_edges(deskew(x) if deskewed else x, cell, stride) for x in parts])


def _edges(images: Tensor, cell: int, stride: int) -> Tensor:
    x = F.pad(images, (1, 1, 1, 1))
    across, down = x[:, :, 1:-1, 2:] - x[:, :, 1:-1, :-2], x[:, :, 2:, 1:-1] - x[:, :, :-2, 1:-1]
    size = (across**2 + down**2).sqrt().clamp(min=1e-6)
    angles = [2 * math.pi * k / ORIENTATIONS for k in range(ORIENTATIONS)]
    along = torch.cat([across * math.cos(a) + down * math.sin(a) for a in angles], 1)
    cells = F.avg_pool2d(along.clamp(min=0) ** 2 / size, cell, stride)
    power = cells.square().sum(1, keepdim=True).mean((2, 3), keepdim=True)
    strength = (cells / (power.sqrt() + 1e-6)).sqrt()
    return (strength - strength.mean((1, 2, 3), keepdim=True)) * 3


def augmented(
    images: Tensor, random: torch.Generator, cell: int, stride: int, degrees: float, scale: float
) -> Tensor:
    """`oriented` of images that were turned, scaled and moved."""
    return oriented(affine(images, random, degrees, scale), cell, stride)


def deskew(images: Tensor) -> Tensor:
    """Shears each image so that rows and columns do not correlate, and centres it.

    Uses the moments of each image alone, so no number is learnt. (n, 1, 28, 28) → the same shape.
    """
    reach = torch.linspace(-1, 1, PIXELS, device=images.device) * (PIXELS - 1) / PIXELS
    mass = images.sum((1, 2, 3)).clamp(min=1e-6)
    over_columns, over_rows = images[:, 0].sum(1), images[:, 0].sum(2)
    x, y = over_columns @ reach / mass, over_rows @ reach / mass
    dx, dy = reach - x[:, None], reach - y[:, None]
    variance = (over_rows * dy**2).sum(1).clamp(min=1e-6)
    slant = torch.einsum("nij,ni,nj->n", images[:, 0], dy, dx) / variance
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    return resample(images, [[one, slant, x], [zero, one, y]])
