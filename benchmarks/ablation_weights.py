"""The training of `ablation` by weights: d of a convolutional net's, as in `oriented-sparse`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.ablation_scores import Data, Score, round_to
from benchmarks.held_out import accuracy, normalise
from entries.oriented import deskew, oriented
from entries.packed import Sparse, pack, unpack
from entries.penalty import l1
from entries.training import BATCH, affine, he_normal

FRONTS: dict[str, Callable[[Tensor], Tensor]] = {
    "oriented": partial(oriented, cell=4, stride=2),
    "deskewed": lambda images: normalise(deskew(images)),
    "pixels": normalise,
}
WIDTHS, POOLED = (16, 32, 64), 4


@dataclass(frozen=True)
class Weights:
    """A training of d weights, the others being zero.

    Attributes:
        front: what the net sees: "oriented", "deskewed" or "pixels".
        narrower: what the channels are divided by.
        mean: whether the last layer sees the mean over the map, not the map.
        origin: factor of He's initial weights.
        penalty: whether an L1 penalty draws weights to zero until the last are removed.
        augmented: whether images are turned, scaled and moved.
        bits: of a weight after training, beside 16 for its place, and 4 bytes for the step of the
            rounding; 0 leaves 16.
    """

    front: str = "oriented"
    narrower: int = 1
    mean: bool = False
    origin: float = 1.0
    penalty: bool = True
    augmented: bool = True
    bits: int = 0


BASE = Weights()
CHANGES = {
    "net: sees deskewed pixels": replace(BASE, front="deskewed"),
    "net: sees pixels": replace(BASE, front="pixels"),
    "net: half the channels": replace(BASE, narrower=2),
    "net: mean over the map": replace(BASE, mean=True),
    "origin: half the weights": replace(BASE, origin=0.5),
    "penalty: none": replace(BASE, penalty=False),
    "images: as they are": replace(BASE, augmented=False),
    "weights: 8 bits": replace(BASE, bits=8),
}


def build(recipe: Weights, d: int, seed: int) -> Sparse:
    """Three convolutions and a dense layer."""
    torch.manual_seed(seed)
    a, b, c = (width // recipe.narrower for width in WIDTHS)
    # From 28 × 28 pixels or 8 × 13 × 13 edges to a map of 6 × 6.
    edges = recipe.front == "oriented"
    first = nn.Conv2d(8, a, 3, padding=1) if edges else nn.Conv2d(1, a, 5, stride=2)
    last = [nn.AdaptiveAvgPool2d(1)] if recipe.mean else []
    net = nn.Sequential(
        first, nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(a, b, 3, padding=1), nn.ReLU(),
        nn.Conv2d(b, c, 3), nn.ReLU(), *last, nn.Flatten(),
        nn.Linear(c if recipe.mean else c * POOLED**2, 10),
    )  # fmt: skip
    he_normal(net)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(recipe.origin)
    return Sparse(net, d)


def train(recipe: Weights, d: int, rate: float, seed: int, epochs: int, data: Data) -> Score:
    """Trains a recipe and scores it."""
    front = FRONTS[recipe.front]
    images, labels = data["raw"].train
    sparse = build(recipe, d, seed)
    steps = epochs * (len(images) // BATCH)

    def augment(batch: Tensor, random: torch.Generator) -> Tensor:
        return front(affine(batch, random))

    options = {"augment": augment} if recipe.augmented else {}
    penalty = {"after_gradient": l1(sparse.net.parameters(), d, steps)} if recipe.penalty else {}
    sparse.fit(
        images if recipe.augmented else front(images), labels, seed,
        epochs=epochs, peak=rate, **options, **penalty,
    )  # fmt: skip
    if recipe.bits:
        quantise(sparse, recipe.bits)
    scored, right = data["raw"].held_out
    return Score(accuracy(sparse, (front(scored), right)))


@torch.no_grad()
def quantise(sparse: Sparse, bits: int) -> None:
    """Rounds the weights to 2^bits - 1 values, in equal steps."""
    theta = unpack(sparse.packed, sum(parameter.numel() for parameter in sparse.net.parameters()))
    index = theta.nonzero()[:, 0]
    round_to(theta, bits)
    sparse.packed.zero_()  # a weight may be 0 as float16, and then has no place
    sparse.packed[: len(index)] = pack(theta, index)


def stored_bytes(recipe: Weights, d: int) -> int:
    """Of d weights and their places, and of the step of a rounding."""
    return d * (16 + (recipe.bits or 16)) // 8 + (4 if recipe.bits else 0)
