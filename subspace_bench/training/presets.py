"""The runs of the studies, with seed 0: a model, its protocol, a dimension and a length.

Protocols are data: see `protocols.toml`.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import replace
from importlib import resources
from typing import Any

from subspace_bench.records.config import RunConfig, TrainingConfig

# Our recipe, not the post's. It learns from the first step, so short runs show both regressions
# and differences between projectors. θ = θ_init + Pω, P's rows are scaled by fan-in, and dropout is
# off; `lr` is the peak of the cycle.
RECIPE = TrainingConfig(
    steps=2_350,  # 10 epochs of 235 batches
    batch=256,
    lr=0.2,
    betas=(0.9, 0.99),
    sampling="epochs",
    scale="standard",
    schedule="one-cycle",
    score_first=235,
    score_every=235,
)
SMALL = (3, 10, 30, 100, 300, 1_000)  # d of the post's ultra-small figures


@functools.cache
def protocols() -> dict[str, Any]:
    """The content of `protocols.toml`: how each model of the post is trained, with sources."""
    text = (resources.files(__package__) / "protocols.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def epochs(count: int) -> int:
    """Updates in `count` of the post's "epochs": its loop runs i = 0 … int(60000 · count / 256)."""
    return int(60_000 * count // protocols()["post"]["batch"]) + 1


@functools.cache
def native(model: str) -> int:
    """D, counted from the built model."""
    from subspace_bench import models

    return models.parameter_count(models.build(model))


def protocol(name: str, **changes: Any) -> TrainingConfig:
    """A training protocol from the data file."""
    fields = TrainingConfig.__dataclass_fields__
    content = {k: v for k, v in protocols()[name].items() if k in fields}
    content["betas"] = tuple(content.get("betas", (0.9, 0.999)))
    return TrainingConfig(**{**content, **changes})


def post(
    model: str, dim: int | None, length: int, init: str | None = None, draws: str = "streams"
) -> RunConfig:
    """The post's model "conv" or "fc", in a subspace through the origin that contains θ_init.

    Arguments:
        dim: d, or None for the baseline.
        length: in the post's epochs.
        init: an initialisation other than the post's.
        draws: "author" for the author's θ_init and P (see `author_draws`).
    """
    chosen = protocols()["post"]["init"][model]
    run = RunConfig(model, init or chosen, protocol("post", steps=epochs(length)), draws=draws)
    return run if dim is None else replace(run, dim=dim, projector="orthonormal", origin="zero")


def lite(model: str, length: int = 10) -> RunConfig:
    """A model of the MNIST-lite table, trained in full space for `length` of the post's epochs."""
    scheme = protocols()["mnist-lite"]["init"]
    return RunConfig(model, scheme, protocol("mnist-lite", steps=epochs(length)))


def recipe(projector: str, dim: int, lr: float, held_out: bool = False) -> RunConfig:
    """The post's conv net without dropout under RECIPE, in a subspace through a He θ_init.

    Arguments:
        lr: the peak learning rate.
        held_out: train on 50,000 images and score on the other 10,000, to choose `lr`.
    """
    protocol = replace(RECIPE, lr=lr)
    if held_out:
        protocol = replace(protocol, train="first-50000", score_on="held-out")
    return RunConfig(
        "conv-plain", "he", protocol, dim=dim, projector=projector, origin="init", scaling="fan-in"
    )


def full_space(model: str, lr: float) -> RunConfig:
    """A model trained in full space under RECIPE."""
    return RunConfig(model, "he", replace(RECIPE, lr=lr))


def tutorial(row: str) -> RunConfig:
    """A tutorial of the post's first table with the tutorial's protocol, scored ten times."""
    name = f"tutorial-{row}"
    content = protocols()[name]
    interval = content["steps"] // 10
    return RunConfig(
        name, content["init"], protocol(name, score_first=interval, score_every=interval)
    )
