"""The committed records are what this code computes: their first 200 steps are trained again.

On the class of machine that wrote a record, or `tests/data/trajectories.json`, the bits must agree;
on any machine the trajectory must, up to the rounding that training amplifies.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from trajectories import AT, FILE, SAMPLE, STEPS, differences, follow

from subspace_bench.datasets.dataset import Dataset
from subspace_bench.datasets.download import DatasetUnavailable
from subspace_bench.datasets.loading import load
from subspace_bench.projectors.orthonormal import BLOCK
from subspace_bench.records import provenance
from subspace_bench.records.config import NUMERICS, RunConfig, TrainingConfig
from subspace_bench.records.store import Record, Store
from subspace_bench.training import presets
from subspace_bench.training.cost import without_seed_and_length

STORE = Store(Path(__file__).parents[2] / "results" / "records")
KEPT = json.loads(FILE.read_text())


# On 24 November 2026 the bits of an orthonormal P of several blocks of columns (d > 512) became
# independent of the number of threads. On Intel that changed them in rounding, and `NUMERICS` was
# not raised. These revisions are older: their records come back to rounding, and, with the code of
# their own revision, bit for bit.
OLDER_BITS = ("64f9c5de", "ec8da805")


def same_bits_expected(run: RunConfig, facts: Mapping[str, Any]) -> bool:
    """Whether retraining gives the bits of a record or trajectory with these facts."""
    blocks_changed = run.projector == "orthonormal" and (run.dim or 0) > BLOCK
    older = str(facts.get("revision")).startswith(OLDER_BITS)
    return provenance.same_hardware(facts) and not (blocks_changed and older)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    try:
        return load("mnist")
    except DatasetUnavailable as failure:
        pytest.skip(f"needs MNIST: {failure}")


QUICK = "FC, d = 30"
EACH = [pytest.param(n, marks=() if n == QUICK else pytest.mark.slow) for n in SAMPLE]


@pytest.mark.parametrize("name", EACH)
def test_retraining_the_first_steps_gives_the_record(name: str, digits) -> None:
    """Seed 0, on any machine."""
    record = STORE.get(SAMPLE[name])
    assert record is not None, "seed 0 of every training in the sample is committed"
    kept = KEPT["trainings"][name]
    again, rows = follow(record.run.with_steps(STEPS), digits)
    assert [row[0] for row in rows] == list(AT)
    assert differences(rows, kept["rows"]) == []
    compare_scores(again, record)
    for facts, bits in ((record.provenance, record.result), (KEPT["machine"], kept)):
        if same_bits_expected(record.run, facts):
            assert again.result["sha256_at_200"] == bits["sha256_at_200"]


@pytest.mark.parametrize("name", EACH)
def test_records_of_this_class_of_machine_come_back_bit_for_bit(
    name: str, digits, committed_records
) -> None:
    """Another seed, of any length: a training begins as a longer one does."""
    of_this_kind = [
        r
        for r in committed_records
        if without_seed_and_length(r.run) == without_seed_and_length(SAMPLE[name])
    ]
    here = [r for r in of_this_kind if r.run.seed and same_bits_expected(r.run, r.provenance)]
    if not here:
        pytest.skip("no further record of this training was written on this class of machine")
    again, _ = follow(here[0].run.with_steps(STEPS), digits)
    assert again.result["sha256_at_200"] == here[0].result["sha256_at_200"]


def compare_scores(again: Record, record: Record) -> None:
    """Those that both have: after update 1 and 101, where the protocol takes them."""
    scored = {row[0]: row for row in record.result["curve"]}
    for updates, accuracy, loss in again.result["curve"]:
        if updates in scored:
            assert loss == pytest.approx(scored[updates][2], rel=0.02)
            assert accuracy == pytest.approx(scored[updates][1], abs=1.0)


MUTATIONS: dict[str, Callable[[TrainingConfig], TrainingConfig]] = {
    "half the rate": lambda p: replace(p, lr=p.lr / 2),
    "twice the rate": lambda p: replace(p, lr=p.lr * 2),
    "other moments": lambda p: replace(p, betas=(0.5, 0.5), momentum=p.momentum and 0.6),
    "smaller batches": lambda p: replace(p, batch=32),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("name", ["conv, d = 300", "tutorial 2"])
def test_a_mutated_training_is_detected(name: str, mutation: str, digits) -> None:
    """Within 20 updates, on any machine: the mutations that the records' scores did not see."""
    run = SAMPLE[name]
    other = replace(run, protocol=MUTATIONS[mutation](run.protocol))
    _, rows = follow(other.with_steps(20), digits)
    assert differences(rows, KEPT["trainings"][name]["rows"])


def test_comparing_nothing_is_an_error() -> None:
    rows = [[1, 0.5, 2.3], [10, 0.6, 2.2]]
    kept = [[*row, 0.01] for row in rows]
    assert differences(rows, kept) == []
    for ours, theirs in (([], kept), (rows, []), (rows[1:], kept)):
        with pytest.raises(ValueError, match=r"compare|shorter"):
            differences(ours, theirs)
    assert differences([[1, float("nan"), 2.3]], kept)


def test_records_are_current_and_sufficient(committed_records) -> None:
    assert {r.run.numerics for r in committed_records} == {NUMERICS}
    assert {r.run.dataset for r in committed_records} == {"mnist"}
    for run in (presets.post("conv", None, 10), presets.lite("mlp-16")):
        assert sum(replace(r.run, seed=0) == run for r in committed_records) >= 8
