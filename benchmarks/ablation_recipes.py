"""The trainings of `ablation` in a subspace, and what each change replaces."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import ablation_weights
from benchmarks.ablation_scores import Data, Score, round_to
from benchmarks.ablation_weights import Weights
from benchmarks.held_out import Images, accuracy, normalise, normalised, split
from benchmarks.leaderboard_entries import pixels
from entries.oriented import Behind, deskew, oriented
from entries.packed import COLUMNS, Chosen, pack
from entries.training import WARM_UP, affine, fit, he_normal, one_cycle
from subspace_bench import Subspace
from subspace_bench.datasets.dataset import Dataset

AVERAGED = 0.99  # of the average of ω stays at each step
SEED_STRIDE = 1_000_000  # between the seeds of which one is chosen
LOSS_IMAGES = 10_000
CHANNELS = (32, 64)  # of the two convolutions
edges = partial(oriented, cell=8, stride=4)  # (n, 1, 28, 28) → (n, 8, 6, 6)


@dataclass(frozen=True)
class Recipe:
    """A training of a dense net in a subspace.

    Attributes:
        layers: "dense", with `width` hidden units; "conv", two convolutions; or "mean", these with
            the mean over the map.
        augmented: whether images are turned, scaled and moved.
        front: what the net sees: "oriented", "deskewed" or "pixels".
        stages: in which the gradient chooses directions; 0 trains d given ones.
        origin: factor of He's initial weights.
        top: share of the numbers that the last layer has to itself; 0 shares all.
        bits: of a coordinate after training, beside 16 for a direction that was chosen, and 4
            bytes for the step of the rounding; 0 leaves 32, or 16.
        tried: seeds, of which the one of the lowest training loss is kept.
    """

    projector: str
    stages: int = 0
    front: str = "oriented"
    layers: str = "dense"
    augmented: bool = False
    width: int = 1_000
    origin: float = 1.0
    scaling: str = "fan-in"
    constant: bool = False
    average: bool = False
    normalise: bool = False
    top: float = 0.0
    bits: int = 0
    tried: int = 1


CHOSEN, HASHED = Recipe("fastfood", stages=50), Recipe("hashed")
SHARED = {
    "net: sees deskewed pixels": {"front": "deskewed"},
    "net: sees pixels": {"front": "pixels"},
    "net: 100 hidden units": {"width": 100},
    "net: 3,000 hidden units": {"width": 3_000},
    "net: two convolutions": {"layers": "conv"},
    "net: two convolutions and the mean over the map": {"layers": "mean"},
    "net: LayerNorm without numbers": {"normalise": True},
    "origin: half the weights": {"origin": 0.5},
    "origin: twice the weights": {"origin": 2.0},
    "P: rows not scaled by layer": {"scaling": "none"},
    "images: turned, scaled, moved": {"augmented": True},
    "rate: constant": {"constant": True},
    "ω: 8 bits": {"bits": 8},
    "ω: 4 bits": {"bits": 4},
}
ONLY = {
    100: {
        "directions: not chosen": {"stages": 0},
        "directions: not chosen, and of a hashed P": {"stages": 0, "projector": "hashed"},
        "directions: chosen at once": {"stages": 1},
        "directions: chosen in 10 stages": {"stages": 10},
        "directions: of a hashed P": {"projector": "hashed"},
        "seeds: best of 8": {"tried": 8},
    },
    1_000: {
        "directions: chosen in 50 stages, and of Fastfood": {"stages": 50, "projector": "fastfood"},
        "rate: constant, ω averaged": {"constant": True, "average": True},
        "P: Fastfood": {"projector": "fastfood"},
        "P: a tenth for the last layer": {"top": 0.1},
        "P: half for the last layer": {"top": 0.5},
    },
}
BASE = "no change"
CHANGES: dict[int, dict[str, Recipe | Weights]] = {
    **{
        d: {BASE: base, **{k: replace(base, **v) for k, v in {**SHARED, **ONLY[d]}.items()}}  # type: ignore[arg-type]
        for d, base in ((100, CHOSEN), (1_000, HASHED))
    },
    300: {BASE: ablation_weights.BASE, **ablation_weights.CHANGES},
}
RATES = {100: (0.05, 0.1, 0.2), 1_000: (0.1, 0.2, 0.4), 300: (0.002, 0.004, 0.008)}


def fronts(dataset: Dataset) -> Data:
    """The images as each front end shows them."""
    return {
        "pixels": split(dataset, normalised),
        "deskewed": split(dataset, lambda images: normalise(deskew(pixels(images)))),
        "oriented": split(dataset, lambda images: edges(pixels(images))),
        "raw": split(dataset, pixels),
    }


def train(
    recipe: Recipe | Weights, d: int, rate: float, seed: int, epochs: int, data: Data
) -> Score:
    """Trains a recipe and scores it."""
    if isinstance(recipe, Weights):
        return ablation_weights.train(recipe, d, rate, seed, epochs, data)
    shown = data["raw" if recipe.augmented else recipe.front]
    inputs, labels = images = shown.train
    tries = []
    for attempt in range(recipe.tried):
        net = build(recipe, data[recipe.front].train[0][0].numel(), d, seed + SEED_STRIDE * attempt)
        fit_net(recipe, net, images, rate, seed, epochs)
        tries.append((training_loss(net, inputs, labels), attempt, net))
    best = min(tries)[2]
    if recipe.bits:
        quantise(best, recipe.bits)
    return Score(accuracy(best, shown.held_out))


def stored_bytes(recipe: Recipe | Weights, d: int) -> int:
    """Of ω and its places, the step of a rounding, and which seed was chosen."""
    if isinstance(recipe, Weights):
        return ablation_weights.stored_bytes(recipe, d)
    bits = 16 + (recipe.bits or 16) if recipe.stages else recipe.bits or 32
    step = 4 if recipe.bits else 0
    return math.ceil((d * bits + math.log2(recipe.tried)) / 8) + step


def build(recipe: Recipe, inputs: int, d: int, seed: int) -> nn.Module:
    """A net in a subspace."""
    torch.manual_seed(seed)
    net = layers(recipe, inputs)
    he_normal(net)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(recipe.origin)
    if recipe.augmented:
        net = nn.Sequential(Behind(edges, net))
    options = {"projector": recipe.projector, "seed": seed, "scaling": recipe.scaling}
    if recipe.stages:
        every = sum(parameter.numel() for parameter in net.parameters())
        return Chosen(Subspace(net, min(COLUMNS, every), **options), d)  # type: ignore[arg-type]
    if not recipe.top:
        return Subspace(net, d, **options)  # type: ignore[arg-type]
    top = round(recipe.top * d)
    parts = net[:-1], net[-1:]
    return nn.Sequential(
        *(Subspace(part, n, **options) for part, n in zip(parts, (d - top, top), strict=True))  # type: ignore[arg-type]
    )


def layers(recipe: Recipe, inputs: int) -> nn.Sequential:
    """A dense net with one hidden layer, or two convolutions and a dense layer."""
    if recipe.layers != "dense":
        a, b = CHANNELS
        last = [nn.AdaptiveAvgPool2d(1)] if recipe.layers == "mean" else []
        return nn.Sequential(
            nn.Conv2d(8, a, 3, padding=1), nn.ReLU(), nn.Conv2d(a, b, 3), nn.ReLU(),
            *last, nn.Flatten(), nn.Linear(b if last else 16 * b, 10),
        )  # fmt: skip
    first = [nn.Flatten(), nn.Linear(inputs, recipe.width)]
    if recipe.normalise:
        first.append(nn.LayerNorm(recipe.width, elementwise_affine=False))
    return nn.Sequential(*first, nn.ReLU(), nn.Linear(recipe.width, 10))


def fit_net(
    recipe: Recipe, net: nn.Module, images: Images, rate: float, seed: int, epochs: int
) -> None:
    """Trains ω, and the choice of directions where the recipe has one."""
    schedule = constant if recipe.constant else one_cycle
    augment = affine if recipe.augmented else None
    if isinstance(net, Chosen):
        net.fit(
            *images, seed,
            epochs=epochs, peak=rate, stages=recipe.stages, choose_until=0.7, schedule=schedule,
            augment=augment,
        )  # fmt: skip
        return
    omegas: list[Tensor] = [p for p in net.parameters() if p.requires_grad]
    means = [omega.detach().clone() for omega in omegas]

    def average(step: int, steps: int) -> None:
        for mean, omega in zip(means, omegas, strict=True):
            mean.lerp_(omega.detach(), 1 - AVERAGED)

    fit(
        net, omegas, *images, seed,
        epochs=epochs, peak=rate, schedule=schedule, before=average, augment=augment,
    )  # fmt: skip
    if recipe.average:
        with torch.no_grad():
            for mean, omega in zip(means, omegas, strict=True):
                omega.copy_(mean)


def constant(share: float) -> float:
    """The rate's factor: 1 after the warm-up."""
    return min(1.0, share / WARM_UP)


@torch.no_grad()
def training_loss(net: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Cross-entropy of the first training images."""
    net.eval()
    return float(F.cross_entropy(net(inputs[:LOSS_IMAGES]), labels[:LOSS_IMAGES]))


@torch.no_grad()
def quantise(net: nn.Module, bits: int) -> None:
    """Rounds the coordinates to 2^bits - 1 values, in equal steps."""
    if isinstance(net, Chosen):
        net.unpack()
        index = net.subspace.omega.nonzero()[:, 0]
        round_to(net.subspace.omega, bits)
        net.packed[: len(index)] = pack(net.subspace.omega, index)
        return
    for omega in net.parameters():
        if omega.requires_grad:
            round_to(omega, bits)
