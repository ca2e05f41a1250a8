"""The committed records are what this code computes: their first 200 steps are trained again.

On the machine class and versions that wrote a record, bit for bit; elsewhere, to rounding.
"""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from subspace_bench import data, provenance
from subspace_bench.runs import NUMERICS, Record, Store
from subspace_bench.train import FINGERPRINT_STEP, train

FOLDER = Path(__file__).parent.parent / "results" / "reference"
RECORDS = {r.run.label: r for r in Store(FOLDER).records()}
SAMPLE = [
    "conv d=D seed 0",
    "conv d=1,000 seed 1",
    "fc d=D seed 0",
    "fc d=30 seed 2",
    "cnn-3369 d=D seed 0",
    "mlp-16 d=D seed 3",
    "tutorial-1 d=D seed 0",
    "tutorial-2 d=D seed 0",
]
DECIDING = ("cpu", "cpu_capability", "torch", "numba", "numpy")


def test_there_are_records_of_every_table_and_none_is_stale() -> None:
    assert {r.run.numerics for r in RECORDS.values()} == {NUMERICS}
    assert {label.split()[0] for label in SAMPLE} <= {label.split()[0] for label in RECORDS}


def mnist() -> data.Dataset:
    if not os.environ.get("SUBSPACE_BENCH_DATA"):
        pytest.skip("needs MNIST: set SUBSPACE_BENCH_DATA to a folder that holds it")
    return data.load("mnist")


@pytest.mark.parametrize("label", SAMPLE)
def test_retraining_the_first_steps_gives_the_record(label: str) -> None:
    record = RECORDS[label]
    again = train(record.run.with_steps(FINGERPRINT_STEP), mnist())
    here = provenance.machine(record.run.device)
    if all(here[k] == record.provenance[k] for k in DECIDING):
        assert again.result["sha256_at_200"] == record.result["sha256_at_200"]
        assert again.result["curve"][:2] == record.result["curve"][:2]
    else:
        compare_to_rounding(again, record)


def compare_to_rounding(again: Record, record: Record) -> None:
    """The loss at the first scored step is that of the same batch, weights and dropout mask."""
    ours, theirs = again.result["curve"][0], record.result["curve"][0]
    assert ours[0] == theirs[0] or ours[0] == FINGERPRINT_STEP
    assert replace(record.run).hash == record.run.hash
    if ours[0] == theirs[0]:
        assert ours[2] == pytest.approx(theirs[2], rel=1e-3)
        assert ours[1] == pytest.approx(theirs[1], abs=2.0)
