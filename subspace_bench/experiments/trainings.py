"""The trainings that tables ask for, each as a run with seed 0: who trains what, and for how long.

Protocols are data (`published/protocols.toml`); this puts models, dimensions and lengths to them.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

from subspace_bench import published
from subspace_bench.runs import Protocol, Run

# Not the post's: a recipe of ours that leaves the plateau at once, for comparing projectors with
# each other and for checks of accuracy. θ = θ_init + Pω, P's rows scaled by fan-in, no dropout;
# `lr` is the peak of the cycle.
RECIPE = Protocol(
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


def epochs(count: int) -> int:
    """Updates of `count` of the post's "epochs": its loop runs i = 0 … int(60000 · count / 256)."""
    scoring = published.load("post")["scoring"]
    return int(scoring["images_trained_on"] * count // scoring["batch"]) + 1


@functools.cache
def native(model: str) -> int:
    """D, counted from the built net."""
    from subspace_bench import models  # with torch, which asking for runs does not need

    return models.parameter_count(models.build(model))


def protocol(name: str, **changes: Any) -> Protocol:
    """A training protocol from the data file."""
    content = {k: v for k, v in published.load("protocols")[name].items() if k in FIELDS}
    content["betas"] = tuple(content.get("betas", (0.9, 0.999)))
    return Protocol(**{**content, **changes})


FIELDS = set(Protocol.__dataclass_fields__)


def post(
    model: str, dim: int | None, length: int, init: str | None = None, draws: str = "streams"
) -> Run:
    """The post's net `conv` or `fc`, in a subspace through the origin that contains θ_init.

    Arguments:
        dim: d, or None for θ itself.
        length: in the post's epochs.
        init: another initialisation than the post's.
        draws: "author" for the author's own θ_init and P.
    """
    chosen = published.load("protocols")["post"]["init"][model]
    run = Run(model, init or chosen, protocol("post", steps=epochs(length)), draws=draws)
    return run if dim is None else replace(run, dim=dim, projector="orthonormal", origin="zero")


def lite(model: str, length: int = 10) -> Run:
    """A net of the MNIST-lite table, trained directly for `length` of the post's epochs."""
    scheme = published.load("protocols")["mnist-lite"]["init"]
    return Run(model, scheme, protocol("mnist-lite", steps=epochs(length)))


def recipe(projector: str, dim: int, lr: float, held_out: bool = False) -> Run:
    """The post's conv net, without dropout, in a subspace through He-initialised θ_init.

    Arguments:
        lr: peak rate.
        held_out: train on 50,000 images and score on the other 10,000, for picking the rate.
    """
    protocol = replace(RECIPE, lr=lr)
    if held_out:
        protocol = replace(protocol, train="first-50000", score_on="held-out")
    return Run(
        "conv-plain", "he", protocol, dim=dim, projector=projector, origin="init", scaling="fan-in"
    )


def direct(model: str, lr: float) -> Run:
    """A net trained in θ itself under the recipe."""
    return Run(model, "he", replace(RECIPE, lr=lr))


def tutorial(row: str) -> Run:
    """A tutorial of the post's first table, under its own protocol, scored ten times."""
    name = f"tutorial-{row}"
    content = published.load("protocols")[name]
    each = content["steps"] // 10
    return Run(name, content["init"], protocol(name, score_first=each, score_every=each))
