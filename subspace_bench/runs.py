"""Runs, records, and the store that keeps records.

A run is everything that determines one training; the hash of its content names its record. A
record is what came out: `result`, the same bits for the same run, and `provenance`, which no
comparison reads.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from subspace_bench.errors import Unwritable, UserError

SCHEMA = 1  # of the record file
NUMERICS = 1  # raise by hand when a change moves results: older records become stale
FIGURES = ("seconds_set_up", "seconds_training", "peak_memory_mb")  # that every record tells

CHOICES = {
    "sampling": ("independent", "epochs", "epochs-drop"),
    "scale": ("unit", "standard", "256"),
    "train": ("all", "after-5000", "first-50000"),
    "optimizer": ("adam", "sgd"),
    "schedule": ("constant", "inv", "one-cycle"),
    "score_on": ("test", "held-out"),
}


@dataclass(frozen=True)
class Protocol:
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
class Run:
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
    protocol: Protocol
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

    def with_steps(self, steps: int) -> Run:
        """The same run, cut to `steps` updates."""
        return replace(self, protocol=replace(self.protocol, steps=steps))


@dataclass(frozen=True)
class Record:
    """What one run came to.

    Attributes:
        result: `curve`, rows of [updates, test accuracy %, loss of that step's batch];
            `accuracy` at the last scheduled score and `accuracy_end` after the last update, %;
            `native_dimension`, `free_parameters`, hashes of the trained numbers; or, where
            training diverged, `diverged`, the update at which the loss was not finite.
        provenance: seconds, memory, versions, hardware, revision, data hash.
    """

    run: Run
    result: dict[str, Any]
    provenance: dict[str, Any]

    def accuracy_at(self, updates: int) -> float | None:
        """Test accuracy in % after this many updates, where it was scored."""
        return next((row[1] for row in self.result["curve"] if row[0] == updates), None)


def unlike_default(value: Protocol | Run) -> dict[str, Any]:
    """The fields whose values are not their defaults."""
    return {f.name: v for f in fields(value) if (v := getattr(value, f.name)) != f.default}


def digest(content: Any) -> str:
    """SHA-256 of the canonical JSON of plain data."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file so that no reader, and no power cut, ever sees half of it.

    Raises:
        Unwritable: where the place cannot be written or is full.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as failure:
        raise Unwritable(
            f"cannot write {path}: {failure.strerror or failure}; "
            "free or choose another place with --out"
        ) from failure
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


class Store:
    """A folder of records, one JSON file each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, run: Run) -> Path:
        return self.folder / f"{run.name}.json"

    def checkpoint(self, run: Run) -> Path:
        """Where the run's training goes on, while it has no record."""
        return self.path(run).with_suffix(".checkpoint")

    def discard(self, run: Run) -> None:
        """Deletes the run's record and checkpoint: it is trained from its start."""
        self.path(run).unlink(missing_ok=True)
        self.checkpoint(run).unlink(missing_ok=True)

    def get(self, run: Run) -> Record | None:
        """The run's record, or None.

        Raises:
            UserError: where the file is damaged, edited by hand, or of another schema.
        """
        path = self.path(run)
        return read_record(path) if path.exists() else None

    def put(self, record: Record) -> None:
        """Keeps a record, atomically."""
        content = {
            "schema": SCHEMA,
            "run": asdict(record.run),
            "result": record.result,
            "result_sha256": digest(record.result),
            "provenance": record.provenance,
        }
        write_atomically(self.path(record.run), pretty(content))

    def records(self) -> Iterator[Record]:
        """All records, in the order of their names."""
        for path in sorted(self.folder.glob("*.json")):
            yield read_record(path)


def pretty(content: dict[str, Any]) -> str:
    """JSON with one line a field and one line a row of the curve: readable, and diffable in git."""
    curve = content["result"].get("curve", [])
    shown = {**content, "result": {**content["result"], "curve": "@curve@"}}
    rows = ",\n".join("      " + json.dumps(row) for row in curve)
    text = json.dumps(shown, indent=2, ensure_ascii=False)
    return text.replace('"@curve@"', f"[\n{rows}\n    ]") + "\n"


def read_record(path: Path) -> Record:
    """Reads and verifies one record file.

    Raises:
        UserError: names the file and what is wrong with it.
    """
    remedy = "move it away, and the run is trained again"
    try:
        content = json.loads(path.read_text())
        if content["schema"] != SCHEMA:
            raise ValueError(f"it has schema {content['schema']}, this version reads {SCHEMA}")
        run = Run(**{**content["run"], "protocol": Protocol(**content["run"]["protocol"])})
        result, provenance = content["result"], content["provenance"]
        intact = digest(result) == content["result_sha256"] and run.name == path.stem
        for name in FIGURES:
            if type(value := provenance[name]) not in (int, float) or not 0 <= value < float("inf"):
                raise ValueError(f"{name} is {value!r}")
    except (OSError, KeyError, TypeError, ValueError, UserError) as failure:
        lacks = "it lacks " * isinstance(failure, KeyError)
        raise UserError(f"{path} is not a record of ours ({lacks}{failure}): {remedy}") from failure
    if not intact:
        raise UserError(f"{path} was changed after it was written: restore it, or {remedy}")
    return Record(run, result, provenance)
