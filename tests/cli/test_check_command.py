"""`subspace-bench check` and `nox -s check` end to end, on a tiny suite."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from subspace_bench.cli import main
from subspace_bench.datasets import loading
from subspace_bench.regression import suite
from subspace_bench.regression.reference import load
from subspace_bench.training import loop, presets

ROOT = Path(__file__).parents[2]
# Every Python that starts imports this, workers included: mutations come from outside the package.
TINY = """
from subspace_bench.training import loop, presets
from subspace_bench.regression import suite
from dataclasses import replace
def tiny(dataset="mnist-5k"):
    run = replace(presets.direct("mlp-16", 1e-2), dataset="mnist-5k")
    protocol = replace(run.protocol, steps=60, score_first=60, score_every=60)
    return {"net": replace(run, protocol=protocol)}
suite.runs = tiny
"""
MUTATION = """
def step(net, optimizer, x, y, original=loop.step):
    return original(net, optimizer, x, (y + 1) % 10 if y[0] < 3 else y)
loop.step = step
"""
DIVERGES = """
def step(net, optimizer, x, y, original=loop.step):
    return original(net, optimizer, x * float("nan"), y)
loop.step = step
"""
FAILS = """
def step(*args):
    raise RuntimeError("\x1b[31mred | or blue")
loop.step = step
"""
COMMAND = (sys.executable, "-m", "subspace_bench", "check")


class Checks:
    """Calls of check in processes, with a reference of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        update = self("--update-reference", "--seeds", "40")
        assert update.returncode == 0, update.stdout + update.stderr

    def __call__(
        self, *arguments: str, mutation: str = "", command: tuple[str, ...] = COMMAND
    ) -> subprocess.CompletedProcess[str]:
        (self.folder / "sitecustomize.py").write_text(TINY + mutation)
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(self.folder), str(ROOT)])}
        env.pop("SUBSPACE_BENCH_DATA", None)
        call = [*command, "--reference", str(self.folder / "regression.toml"), *arguments]
        return subprocess.run(call, env=env, capture_output=True, text=True, cwd=self.folder)


@pytest.fixture(scope="module")
def check(tmp_path_factory) -> Checks:
    return Checks(tmp_path_factory.mktemp("checks"))


def junit_case(path: Path) -> ElementTree.Element:
    (case,) = ElementTree.parse(path).getroot()
    return case


@pytest.mark.slow
def test_the_check_fails_with_a_mutation_and_passes_without(check) -> None:
    passed = check("--report", "check")
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "| net " in (check.folder / "check.md").read_text()
    assert len(junit_case(check.folder / "check.xml")) == 0
    failed = check("--report", "check.xml", mutation=MUTATION)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert junit_case(check.folder / "check.xml")[0].tag == "failure"
    assert check("--first-seed", "2000000").returncode == 0


@pytest.mark.slow
def test_runs_that_diverge_or_fail_are_not_judged(check) -> None:
    diverged = check(mutation=DIVERGES)
    assert diverged.returncode == 2, diverged.stdout + diverged.stderr
    assert not diverged.stderr
    failed = check("--report", "failed", mutation=FAILS)
    assert failed.returncode == 2, failed.stdout + failed.stderr
    assert "red | or blue" in junit_case(check.folder / "failed.xml")[0].attrib["message"]
    table = [line for line in (check.folder / "failed.md").read_text().splitlines() if "|" in line]
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1  # cells are escaped
    update = check("--update-reference", "--seeds", "40", mutation=DIVERGES)
    assert update.returncode == 2
    assert len(update.stderr.splitlines()) == 1


@pytest.mark.slow
def test_nox_check_fails_with_a_mutation_and_passes_without(check) -> None:
    home = Path(sys.prefix)
    if not (home / "installed").exists():
        pytest.skip("not in nox's environment: run nox -s tests")
    nox = (sys.executable, "-m", "nox", "--noxfile", str(ROOT / "noxfile.py"),
           "--envdir", str(home.parent), "-s", "check", "--")  # fmt: skip
    for mutation, code in (("", 0), (MUTATION, 1)):
        ended = check(mutation=mutation, command=nox)
        assert ended.returncode == code, ended.stdout + ended.stderr


@pytest.fixture
def tiny(monkeypatch, tmp_path, digits):
    """Calls check in this process, on accuracies that depend on the seed only."""
    run = presets.direct("mlp-16", 1e-2)
    run = replace(run, protocol=replace(run.protocol, steps=20, score_first=20, score_every=20))
    monkeypatch.setattr(suite, "runs", lambda name="mnist": {"net": replace(run, dataset=name)})
    monkeypatch.setattr(loading, "load_or_embedded", lambda root=None: digits)
    results = {"shift": 0.0}

    def measure(self, tasks, folder=None):
        return {task: 90 + results["shift"] + task[1] * 0.618 % 1 for task in tasks}

    monkeypatch.setattr(suite.Trainer, "__call__", measure)

    def call(*arguments: str, shift: float = 0.0) -> int:
        results["shift"] = shift
        with pytest.raises(SystemExit) as ended:
            main(["check", "--reference", str(tmp_path / "r.toml"), *arguments])
        return int(ended.value.code or 0)

    assert call("--update-reference", "--seeds", "40") == 0
    return call


def test_exit_codes_and_reports(tiny, tmp_path) -> None:
    report = tmp_path / "check.xml"
    assert tiny("--report", str(report)) == 0
    assert len(junit_case(report)) == 0
    assert tiny("--report", str(report), shift=-5.0) == 1
    assert junit_case(report)[0].tag == "failure"


def test_an_update_replaces_the_reference(tiny, tmp_path) -> None:
    before = load(tmp_path / "r.toml", "")["net"]
    assert tiny("--update-reference", "--seeds", "50", shift=-5.0) == 0
    after = load(tmp_path / "r.toml", "")["net"]
    assert (before.sample.n, after.sample.n) == (40, 50)
    assert after.sample.mean < before.sample.mean - 4
    assert tiny(shift=-5.0) == 0


def test_bitwise_names_the_first_step_that_differs(tiny, tmp_path, monkeypatch) -> None:
    report = tmp_path / "bitwise.xml"
    assert tiny("--bitwise", "--report", str(report)) == 0
    original, calls = loop.step, []

    def step(net, optimizer, x, y):
        calls.append(1)
        return original(net, optimizer, x, y if len(calls) < 7 else (y + 1) % 10)

    monkeypatch.setattr(loop, "step", step)
    assert tiny("--bitwise", "--report", str(report)) == 1
    assert junit_case(report)[0].attrib["message"].endswith("step 7")

    def fail(*args):
        raise RuntimeError("no")

    monkeypatch.setattr(loop, "step", fail)
    assert tiny("--bitwise", "--report", str(report)) == 2
    assert junit_case(report)[0].tag == "error"


def test_a_reference_of_other_numerics_is_refused(tiny, monkeypatch) -> None:
    monkeypatch.setattr(suite, "NUMERICS", 99)
    assert tiny() == 2
