"""A run's configuration: all that determines one training. Its content hash names its record.

The class and its protocol are hashed field by field, so a field keeps its name.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from subspace_bench.common.errors import UserError
from subspace_bench.common.files import digest

NUMERICS = 1  # raise by hand when a change moves results: older records become stale

CHOICES = {
    "sampling": ("independent", "epochs", "epochs-drop"),
    "scale": ("unit", "standard", "256"),
    "train": ("all", "after-5000", "first-50000"),
    "optimizer": ("adam", "sgd"),
    "schedule": ("constant", "inv", "one-cycle"),
    "score_on": ("test", "held-out"),
}


@dataclass(frozen=True)
class TrainingConfig:
    """How a run trains: data preparation, sampling, optimizer, length, and when it is scored.

    Attributes:
        steps: number of updates.
        score_first, score_every: the test accuracy is taken after updates score_first,
            score_first + score_every, … and after the last one.
        sampling: "independent" (each batch a fresh draw of distinct images), "epochs" (a
            permutation, partial last batch kept) or "epochs-drop" (partial batch dropped).
        scale: "unit" x/255, "standard" (x/255 − 0.1307)/0.3081, or "256" x/256.
        train: "all", "after-5000" or "first-50000" of the 60,000 training images.
        optimizer: "adam" or "sgd".
        bias_lr: factor on the learning rate of biases.
        schedule: "constant"; "inv": lr · (1 + gamma · t)^(−power) at update t; or "one-cycle":
            up to lr over the first quarter of the steps, then down to 0 along a cosine.
        score_on: "test", or "held-out": the last 10,000 of the 60,000 training images, for picking
            what a protocol leaves open; they are then to be kept from training by `train`.
    """

    steps: int
    batch: int
    lr: float
    score_first: int = 1
    score_every: int = 100
    sampling: str = "independent"
    scale: str = "unit"
    train: str = "all"
    optimizer: str = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    bias_lr: float = 1.0
    schedule: str = "constant"
    gamma: float = 0.0
    power: float = 0.0
    score_on: str = "test"

    def scored(self, updates: int) -> bool:
        """Whether the protocol takes the test accuracy after this many updates."""
        return updates >= self.score_first and (updates - self.score_first) % self.score_every == 0

    def __post_init__(self) -> None:
        for f in fields(self):  # 1 and 1.0 are equal, but not in JSON, nor so in the hash
            if f.type == "float":
                object.__setattr__(self, f.name, float(getattr(self, f.name)))
        object.__setattr__(self, "betas", tuple(map(float, self.betas)))
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise UserError(
                    f"unknown {name} {getattr(self, name)!r}: choose one of {', '.join(choices)}"
                )
        if min(self.steps, self.batch, self.score_first, self.score_every) < 1:
            raise UserError("steps, batch and the scores' distances are whole numbers from 1")
        if self.score_on == "held-out" and self.train != "first-50000":
            raise UserError("held-out images must not be trained on: take train 'first-50000'")

    @property
    def last_score(self) -> int:
        """Updates before the last scheduled score, the one that is reported."""
        return self.steps - (self.steps - self.score_first) % self.score_every


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines one training.

    Attributes:
        dim: d, or None where θ is trained directly (the baseline).
        projector: its name; None for a baseline.
        origin: "zero" (θ = Pω, P's first column along θ_init) or "init" (θ = θ_init + Pω).
        init: scheme of `models.initial`.
        scaling: "none", or "fan-in": row i of P times √(D/d)/√(fan-in of θ_i's layer), so that a
            unit step of ω moves every layer's outputs alike.
        draws: "streams": θ_init and P come from the seed's own streams; "author": from the post's
            author's generator (`author`), so that the seed decides batches and dropout alone.
    """

    model: str
    init: str
    protocol: TrainingConfig
    dim: int | None = None
    projector: str | None = None
    origin: str = "init"
    scaling: str = "none"
    seed: int = 0
    dataset: str = "mnist"
    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 1
    numerics: int = 0  # 0: the present NUMERICS
    draws: str = "streams"

    def __post_init__(self) -> None:
        if not self.numerics:
            object.__setattr__(self, "numerics", NUMERICS)
        choices_of = {
            "origin": ("zero", "init"),
            "scaling": ("none", "fan-in"),
            "draws": ("streams", "author"),
        }
        for name, choices in choices_of.items():
            if (given := getattr(self, name)) not in choices:
                raise UserError(f"unknown {name} {given!r}: choose {' or '.join(choices)}")
        if self.scaling != "none" and (self.dim is None or self.origin == "zero"):
            raise UserError("only a subspace through θ_init (origin init) can be scaled by fan-in")
        if (self.dim is None) != (self.projector is None):
            raise UserError("a subspace has both a dimension and a projector, a baseline neither")
        if self.draws == "author" and not (
            self.init.startswith("normal:")
            and (self.dim is None or (self.projector, self.origin) == ("orthonormal", "zero"))
        ):
            raise UserError(
                "the author's draws are those of a normal θ_init and an orthonormal P through zero"
            )
        if self.seed < 0:
            raise UserError(f"the seed is {self.seed}: it must be 0 or more")

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the run's content.

        Fields at their default are left out, so that a field added later renames no record.
        """
        content = {**unlike_default(self), "protocol": unlike_default(self.protocol)}
        return digest(content)

    @property
    def name(self) -> str:
        """The record's file name without its ending."""
        size = "D" if self.dim is None else str(self.dim)
        return f"{self.model}-d{size}-s{self.seed}-{self.hash[:12]}"

    @property
    def label(self) -> str:
        """For people: model, dimension, seed."""
        size = "D" if self.dim is None else f"{self.dim:,}"
        return f"{self.model} d={size} seed {self.seed}"

    def with_steps(self, steps: int) -> RunConfig:
        """The same run, cut to `steps` updates."""
        return replace(self, protocol=replace(self.protocol, steps=steps))


def unlike_default(value: TrainingConfig | RunConfig) -> dict[str, Any]:
    """The fields whose values are not their defaults."""
    return {f.name: v for f in fields(value) if (v := getattr(value, f.name)) != f.default}
