"""The public names and their parameters: whoever changes one here tells users in CHANGELOG.md."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import subspace_bench

PUBLIC: dict[str, str | None] = {  # name → its parameters
    "Projector": "native dim seed",
    "Record": "run result provenance",
    "RunConfig": "model init protocol dim projector origin scaling seed dataset device dtype "
    "threads numerics draws batched",
    "ShardedSubspace": "module dim projector seed scaling",
    "Store": "folder",
    "Subspace": "module dim projector seed keep_origin scaling",
    "TrainingConfig": "steps batch lr score_first score_every sampling scale train "
    "optimizer betas eps momentum nesterov weight_decay bias_lr schedule gamma power score_on",
    "UserError": None,
    "intrinsic_dimension": "build train higher_is_better name out fraction threshold "
    "within trainings minutes interval_ratio projector jobs scaling rates",
    "train": "run dataset checkpoint on_progress should_stop",
}


def test_no_public_name_comes_or_goes_unnoticed() -> None:
    assert sorted(PUBLIC) == sorted(subspace_bench.__all__) == dir(subspace_bench)


@pytest.mark.parametrize("name", [name for name, names in PUBLIC.items() if names])
def test_public_names_take_these_parameters(name: str) -> None:
    assert " ".join(inspect.signature(getattr(subspace_bench, name)).parameters) == PUBLIC[name]


def test_the_citation_is_of_this_version() -> None:
    citation = Path(__file__).parents[1] / "CITATION.cff"
    assert f"\nversion: {subspace_bench.__version__}\n" in citation.read_text()
