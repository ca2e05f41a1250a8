"""The committed records are what this code computes: their first 200 steps are trained again.

On the machine class and versions that wrote a record, bit for bit; elsewhere, the loss and the
accuracy of its first scores, to the rounding that training amplifies.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from subspace_bench import data, provenance
from subspace_bench.experiments import trainings
from subspace_bench.runs import NUMERICS, Record, Run, Store
from subspace_bench.train import FINGERPRINT_STEP, train

STORE = Store(Path(__file__).parent.parent / "results" / "reference")
# One of each way to train: optimizers, projection, dropout, samplings, initialisations.
SAMPLE = [
    trainings.post("conv", None, 10),
    trainings.post("conv", 1_000, 10),
    trainings.post("conv", 300, 10, "normal:0.01"),
    trainings.post("fc", None, 10),
    trainings.post("fc", 30, 10),
    trainings.lite("cnn-3369"),
    trainings.lite("mlp-16"),
    trainings.tutorial("1"),
    trainings.tutorial("2"),
]
DECIDING = ("cpu", "cpu_capability", "torch", "numba", "numpy")


@pytest.fixture(scope="module")
def mnist() -> data.Dataset:
    try:
        return data.load("mnist")
    except data.Unavailable as failure:
        pytest.skip(f"needs MNIST: {failure}")


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("run", SAMPLE, ids=lambda run: f"{run.model}-{run.dim}-{run.init}")
def test_retraining_the_first_steps_gives_the_record(run: Run, seed: int, mnist) -> None:
    record = STORE.get(replace(run, seed=seed))
    if record is None:
        assert seed > 0, "seed 0 of every training in the sample is committed"
        pytest.skip("no record of this seed")
    again = train(record.run.with_steps(FINGERPRINT_STEP), mnist)
    if same_machine(record):
        assert again.result["sha256_at_200"] == record.result["sha256_at_200"]
    compare(again, record)


def same_machine(record: Record) -> bool:
    here = provenance.machine(record.run.device)
    return all(here[k] == record.provenance[k] for k in DECIDING)


def compare(again: Record, record: Record) -> None:
    """Scores that both have: after update 1 and 101."""
    scored = {row[0]: row for row in record.result["curve"]}
    for updates, accuracy, loss in again.result["curve"]:
        if updates in scored:
            assert loss == pytest.approx(scored[updates][2], rel=0.02)
            assert accuracy == pytest.approx(scored[updates][1], abs=1.0)


def test_records_are_current_and_enough_to_say_something() -> None:
    records = list(STORE.records())
    assert {r.run.numerics for r in records} == {NUMERICS}
    assert {r.run.dataset for r in records} == {"mnist"}
    for run in (trainings.post("conv", None, 10), trainings.lite("mlp-16")):
        assert sum(replace(r.run, seed=0) == run for r in records) >= 8
