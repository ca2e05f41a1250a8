"""The configuration of a run: everything that determines its training.

The content hash names the run's record, so fields keep their names and their defaults.
"""

from __future__ import annotations

import numbers
import reprlib
import sys
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from subspace_bench.common.errors import UserError
from subspace_bench.common.files import digest

LARGEST = sys.float_info.max
NUMERICS = 1  # increase when a change alters results; older records become stale

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
    """A training protocol: data preparation, sampling, optimizer, length and scores.

    Attributes:
        steps: number of updates.
        batch: images per batch.
        lr: learning rate; the peak of the schedule.
        score_first, score_every: the test accuracy is measured after updates score_first,
            score_first + score_every, … and after the last one.
        sampling: "independent" (each batch is a fresh draw of distinct images), "epochs" (a
            permutation, partial last batch kept) or "epochs-drop" (partial batch dropped).
        scale: of pixels x: "unit" x/255, "standard" (x/255 − 0.1307)/0.3081, or "256" x/256.
        train: "all", "after-5000" or "first-50000" of the 60,000 training images.
        optimizer: "adam" or "sgd".
        bias_lr: factor on the learning rate of biases.
        schedule: "constant"; "inv": lr · (1 + gamma · t)^(−power) at update t; or "one-cycle":
            up to lr over the first quarter of the steps, then down to 0 along a cosine.
        score_on: "test", or "held-out": the last 10,000 of the 60,000 training images, to choose
            hyperparameters on. Then `train` must be "first-50000".

    Raises:
        UserError: for an unknown choice or a number below its minimum.
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
        """Whether the test accuracy is due after this many updates, by score_first and _every."""
        return updates >= self.score_first and (updates - self.score_first) % self.score_every == 0

    def __post_init__(self) -> None:
        require_types(self)
        for f in fields(self):  # 1 == 1.0, but their JSON and so the hash differ
            if f.type == "float":
                object.__setattr__(self, f.name, float(getattr(self, f.name)))
        object.__setattr__(self, "betas", tuple(map(float, self.betas)))
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise UserError(
                    f"unknown {name} {getattr(self, name)!r}: choose one of {', '.join(choices)}"
                )
        if min(self.steps, self.batch, self.score_first, self.score_every) < 1:
            raise UserError("steps, batch, score_first and score_every must be 1 or more")
        if self.score_on == "held-out" and self.train != "first-50000":
            raise UserError("score_on 'held-out' needs train 'first-50000'")

    @property
    def last_score(self) -> int:
        """Updates before the last score by score_first and score_every, the one pages report."""
        return self.steps - (self.steps - self.score_first) % self.score_every


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines a run.

    Attributes:
        model: a name in `models.MODELS`.
        init: a scheme of `models.initialise`.
        dim: d, or None to train θ itself (the baseline).
        projector: its name; None for a baseline.
        origin: "zero" (θ = Pω, P's first column parallel to θ_init) or "init" (θ = θ_init + Pω).
        scaling: "none", or "fan-in": row i of P times √(D/d)/√(fan-in of θ_i's layer), so that a
            unit step of ω changes the outputs of every layer equally.
        seed: of all random streams.
        numerics: NUMERICS when the run was trained; 0 means now.
        draws: "streams": θ_init and P come from the seed's streams. "author": they come from the
            post author's generator (`training.author_draws`), and the seed decides only batches and
            dropout.
        batched: trained in one batch with runs of other seeds, which the record's provenance names.
            Sums are in another order than alone, so this is another run, and has another record.

    Raises:
        UserError: for an unknown choice, or choices that exclude each other.
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
    numerics: int = 0
    draws: str = "streams"
    batched: bool = False

    def __post_init__(self) -> None:
        require_types(self)
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
            raise UserError("scaling 'fan-in' needs a dimension and origin 'init'")
        if (self.dim is None) != (self.projector is None):
            raise UserError("give both a dimension and a projector, or neither for a baseline")
        if self.draws == "author" and not (
            self.init.startswith("normal:")
            and (self.dim is None or (self.projector, self.origin) == ("orthonormal", "zero"))
        ):
            raise UserError(
                "draws 'author' need init 'normal:…' and, in a subspace, projector 'orthonormal' "
                "and origin 'zero'"
            )
        if self.seed < 0:
            raise UserError(f"seed is {self.seed}: it must be 0 or more")

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the fields that are not at their default.

        A field that is added later therefore renames no record.
        """
        content = {**non_default_fields(self), "protocol": non_default_fields(self.protocol)}
        return digest(content)

    @property
    def name(self) -> str:
        """The stem of the record's file name."""
        size = "D" if self.dim is None else str(self.dim)
        return f"{self.model}-d{size}-s{self.seed}-{self.hash[:12]}"

    @property
    def label(self) -> str:
        """Model, dimension and seed, for display."""
        size = "D" if self.dim is None else f"{self.dim:,}"
        return f"{self.model} d={size} seed {self.seed}"

    def with_steps(self, steps: int) -> RunConfig:
        """The same run with another number of updates."""
        return replace(self, protocol=replace(self.protocol, steps=steps))


def require_types(value: TrainingConfig | RunConfig) -> None:
    """Checks the fields that are numbers or text; an integer may stand for a float.

    Raises:
        UserError: names the field and the type that it must have.
    """
    for f in fields(value):
        given, kind = getattr(value, f.name), str(f.type).removesuffix(" | None")
        if given is None and kind != f.type:
            continue
        pair = list(given) if isinstance(given, tuple | list) else []
        right = {
            "int": isinstance(given, int) and abs(given) < 2**63,
            "float": _is_float(given),
            "str": isinstance(given, str),
            "tuple[float, float]": len(pair) == 2 and all(map(_is_float, pair)),
        }
        if not right.get(kind, True):
            needed = "an integer of 64 bits" if kind == "int" else f"of type {kind}"
            raise UserError(f"{f.name} is {reprlib.repr(given)}: it must be {needed}")


def _is_float(value: object) -> bool:
    return isinstance(value, numbers.Real) and bool(abs(value) <= LARGEST)  # type: ignore[operator]


def non_default_fields(value: TrainingConfig | RunConfig) -> dict[str, Any]:
    """Name → value of the fields that are not at their default."""
    return {f.name: v for f in fields(value) if (v := getattr(value, f.name)) != f.default}
