"""Planted faults: each changes the runs that it names, and no other, in workers too."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from subspace_bench.datasets.locate import VARIABLE
from subspace_bench.records.store import Store
from subspace_bench.regression import suite
from subspace_bench.training.loop import train

faults = pytest.importorskip(
    "subspace_bench.regression.validation.mutations", reason="needs the repository"
)
ROOT = Path(__file__).parents[2]
REAL = os.environ.get(VARIABLE)
KINDS = ("data", "training", "nets", "tests", "subspaces")


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    env.pop(VARIABLE, None)
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_changes_the_runs_it_names_and_no_other(kind) -> None:
    tried = python("tests/mutations_tried.py", kind)
    assert tried.returncode == 0, tried.stderr
    found = json.loads(tried.stdout)
    assert found
    for name, said in found.items():
        touched = faults.MUTATIONS[name].runs
        expected = {run: "changed" if run in touched else "same" for run in suite.runs()}
        assert said == {**expected, "again": "same"}, name


def test_there_are_fifty_faults_of_runs_that_exist() -> None:
    assert len(faults.MUTATIONS) >= 50
    for name, fault in faults.MUTATIONS.items():
        assert set(fault.runs) <= set(suite.runs()), name
        assert len(set(fault.runs)) == len(fault.runs), name
        assert fault.measured == fault.runs[: faults.MEASURED], name
        assert fault.says.endswith("."), name
    texts = [fault.says for fault in faults.MUTATIONS.values()]
    assert len(set(texts)) == len(texts)


def test_the_command_line_plants_a_fault_in_its_workers(tmp_path, digits) -> None:
    fault, out = "labels-of-the-row-before", str(tmp_path)
    options = ["--model", "mlp-16", "--dataset", "mnist-5k", "--steps", "20", "--out", out]
    done = python(
        "-m", "subspace_bench.regression.validation.run_mutated", fault, "train", *options
    )
    assert done.returncode == 0, done.stderr
    (faulty,) = Store(tmp_path / "runs").records()
    plain = train(faulty.run, digits)  # the same run without a fault
    assert faulty.result["sha256"] != plain.result["sha256"]
    assert faulty.result["accuracy_end"] < plain.result["accuracy_end"]


def test_the_command_line_names_the_faults_where_one_is_unknown() -> None:
    refused = python(
        "-m", "subspace_bench.regression.validation.run_mutated", "no-such-fault", "check"
    )
    assert refused.returncode == 1
    assert "missing-zero-grad" in refused.stderr


MOVED = """
import sys, torch
from subspace_bench.regression.validation.mutations import MUTATIONS
from subspace_bench import projectors
def both(name):
    draw = torch.Generator().manual_seed(0)
    made = projectors.make(name, 3000, 60, seed=3)
    omega, theta = (torch.randn(1, n, generator=draw) for n in (60, 3000))
    return made(omega), made.transpose(theta)
fault, name = sys.argv[1:]
before = both(name)
MUTATIONS[fault].plant()
print(*(float((new - old).norm() / old.norm()) for new, old in zip(both(name), before)))
"""


@pytest.mark.parametrize(
    ("fault", "projector", "forward"),
    [
        ("hadamard-in-bit-reversed-order", "fastfood", True),
        ("hadamard-in-bit-reversed-order-in-the-adjoint", "fastfood", False),
        ("permutation-missing", "fastfood", True),
        ("permutation-missing-in-the-adjoint", "fastfood", False),
        ("signs-missing", "hashed", True),
    ],
)
def test_faults_of_a_projector_change_more_than_its_rounding(fault, projector, forward) -> None:
    """They go by the plain path, whose other rounding alone would count as a change."""
    done = python("-c", MOVED, fault, projector)
    assert done.returncode == 0, done.stderr
    apart = [float(word) for word in done.stdout.split()]
    assert (apart[0] > 0.1) == forward
    assert apart[1] > 0.1


@pytest.mark.skipif(not REAL, reason=f"needs MNIST: set {VARIABLE} to a folder that holds it")
def test_a_fault_turns_the_real_check_red() -> None:
    red = python(
        "-m",
        "subspace_bench.regression.validation.run_mutated",
        "missing-zero-grad",
        "check",
        "--data",
        str(REAL),
    )
    assert red.returncode == 1, red.stdout + red.stderr
    assert "moved down" in " ".join(red.stdout.split())
