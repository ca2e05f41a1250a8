"""Mutations: each changes the runs that it names, and no other, in workers too."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from subspace_bench import projectors
from subspace_bench.datasets.locate import DATA_VARIABLE
from subspace_bench.projectors import fastfood, hashed
from subspace_bench.records.store import Store
from subspace_bench.regression import suite
from subspace_bench.regression.validation import digests
from subspace_bench.regression.validation.mutations import MEASURED, MUTATIONS
from subspace_bench.training.loop import train

ROOT = Path(__file__).parents[2]
REAL = os.environ.get(DATA_VARIABLE)
KINDS = ("data", "training", "models", "scoring", "subspaces")
RUN_MUTATED = "subspace_bench.regression.validation.run_mutated"
RUN_MUTATED_FILE = str(ROOT / f"{RUN_MUTATED.replace('.', '/')}.py")


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    env.pop(DATA_VARIABLE, None)
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, cwd=ROOT)


@pytest.mark.slow
def test_each_mutation_changes_the_runs_it_names_and_no_other() -> None:
    tried = python("tests/mutations_tried.py", *KINDS)
    assert tried.returncode == 0, tried.stderr
    results = json.loads(tried.stdout)
    assert set(results) == set(MUTATIONS)
    for name, differences in results.items():
        affected = MUTATIONS[name].runs
        expected = {run: "changed" if run in affected else "same" for run in suite.runs()}
        assert differences == {**expected, "again": "same"}, name


def test_mutations_are_of_runs_that_exist() -> None:
    assert len(MUTATIONS) >= 50
    for name, mutation in MUTATIONS.items():
        assert set(mutation.runs) <= set(suite.runs()), name
        assert len(set(mutation.runs)) == len(mutation.runs), name
        assert mutation.measured == mutation.runs[:MEASURED], name
        assert mutation.description.endswith("."), name
    assert len({mutation.description for mutation in MUTATIONS.values()}) == len(MUTATIONS)


@pytest.mark.slow
def test_workers_of_the_command_line_apply_the_mutation(tmp_path, digits) -> None:
    options = ["--model", "mlp-16", "--dataset", "mnist-5k", "--steps", "20"]
    command = ["-m", RUN_MUTATED, "labels-of-the-row-before", "train", *options]
    ended = python(*command, "--out", str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    (mutated,) = Store(tmp_path / "runs").records()
    unchanged = train(mutated.run, digits)
    assert mutated.result["sha256"] != unchanged.result["sha256"]
    assert mutated.result["accuracy_end"] < unchanged.result["accuracy_end"]


def test_an_unknown_mutation_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["run_mutated", "no-such-mutation", "check"])
    with pytest.raises(SystemExit, match="missing-zero-grad"):
        runpy.run_path(RUN_MUTATED_FILE, run_name="__main__")


@pytest.mark.parametrize(
    ("mutation", "projector", "forward"),
    [
        ("hadamard-in-bit-reversed-order", "fastfood", True),
        ("hadamard-in-bit-reversed-order-in-the-adjoint", "fastfood", False),
        ("permutation-missing", "fastfood", True),
        ("permutation-missing-in-the-adjoint", "fastfood", False),
        ("signs-missing", "hashed", True),
    ],
)
def test_projector_mutations_change_more_than_rounding(
    mutation, projector, forward, monkeypatch
) -> None:
    """They use the PyTorch path, whose rounding differs from that of the kernels."""
    for patched in (fastfood, fastfood.Fastfood, hashed.Hashed):
        for name, value in list(vars(patched).items()):
            if callable(value):
                monkeypatch.setattr(patched, name, value)  # restored after the test
    omega, theta = torch.randn(1, 60), torch.randn(1, 3000)

    def products():
        p = projectors.make(projector, 3000, 60, seed=3)
        return p(omega), p.transpose(theta)

    before = products()
    MUTATIONS[mutation].apply()
    changes = [float((b - a).norm() / a.norm()) for a, b in zip(before, products(), strict=True)]
    assert (changes[0] > 0.1) == forward
    assert changes[1] > 0.1


FUNCTIONS = """
from subspace_bench.regression.validation import patching
RATE = 0.5
def helper(factor):
    patching.patch_loss(lambda out, y: factor * out.sum())
def first():
    helper(RATE)
"""
RENAMED = """
from subspace_bench.regression.validation import patching
HALF = 0.5
def scale_loss(times: float) -> None:
    '''Scales the loss.'''
    patching.patch_loss(lambda logits, labels: times * logits.sum())  # a comment

def second() -> None:
    '''Another text.'''
    scale_loss(
        HALF
    )
"""


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (RENAMED, True),
        (RENAMED.replace("0.5", "0.6"), False),
        (RENAMED.replace("sum()", "mean()"), False),
        (RENAMED.replace("patch_loss", "patch_step"), False),
    ],
)
def test_a_digest_depends_on_what_a_mutation_does_and_not_on_names(tmp_path, text, same) -> None:
    def digest(name: str, source: str) -> str:
        path = tmp_path / f"{name}.py"
        path.write_text(source)
        module = {"__name__": f"{digests.PACKAGE}.{name}"}
        exec(compile(source, str(path), "exec"), module)
        return digests.digest_of(module[name])

    assert (digest("first", FUNCTIONS) == digest("second", text)) == same


def test_a_digest_includes_the_helpers() -> None:
    canonical = digests.canonical(MUTATIONS["labels-shifted-in-1-percent"].apply)
    assert len(canonical) == 3  # with shift_labels and patch_dataset
    assert len({digests.digest_of(m.apply) for m in MUTATIONS.values()}) == len(MUTATIONS)
