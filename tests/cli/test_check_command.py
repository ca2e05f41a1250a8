"""`subspace-bench check` and `nox -s check` end to end: green, red with a fault, green again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
# Each Python that starts imports this, workers included: the fault comes from outside the package.
TINY = """
from subspace_bench.experiments import trainings
from subspace_bench.regression import suite
from dataclasses import replace
def tiny(dataset):
    run = replace(trainings.direct("mlp-16", 1e-2), dataset="mnist-5k")
    protocol = replace(run.protocol, steps=60, score_first=60, score_every=60)
    return {"net": replace(run, protocol=protocol)}
suite.runs = tiny
"""
FAULT = """
from subspace_bench import train
def step(net, optimizer, x, y, plain=train.step):
    return plain(net, optimizer, x, (y + 1) % 10 if y[0] < 3 else y)
train.step = step
"""
DIVERGES = """
from subspace_bench import train
def step(net, optimizer, x, y, plain=train.step):
    return plain(net, optimizer, x * float("nan"), y)
train.step = step
"""
FAILS = """
from subspace_bench import train
def step(*given):
    raise RuntimeError("\x1b[31mred | or blue")
train.step = step
"""
OTHER_NUMERICS = "suite.NUMERICS = 99\n"
COMMAND = (sys.executable, "-m", "subspace_bench", "check")


class Checks:
    """Calls of check on a tiny suite, with a reference of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        made = self("--update-reference", "--seeds", "40")
        assert made.returncode == 0, made.stdout + made.stderr

    def __call__(
        self, *arguments: str, fault: str = "", command: tuple[str, ...] = COMMAND
    ) -> subprocess.CompletedProcess[str]:
        (self.folder / "sitecustomize.py").write_text(TINY + fault)
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(self.folder), str(ROOT)])}
        env.pop("SUBSPACE_BENCH_DATA", None)
        call = [*command, "--reference", str(self.folder / "regression.toml"), *arguments]
        return subprocess.run(call, env=env, capture_output=True, text=True, cwd=self.folder)


@pytest.fixture(scope="module")
def check(tmp_path_factory) -> Checks:
    return Checks(tmp_path_factory.mktemp("checks"))


def test_a_planted_fault_turns_the_check_red_and_its_removal_green(check) -> None:
    green = check("--report", "check.md")
    assert green.returncode == 0, green.stdout + green.stderr
    assert "within" in (check.folder / "check.md").read_text()
    red = check(fault=FAULT)
    assert red.returncode == 1, red.stdout + red.stderr
    assert "moved down" in " ".join(red.stdout.split())
    assert "net, seed 1000000: " in red.stdout
    assert "--first-seed 2000000" in " ".join(red.stdout.split())
    assert check("--first-seed", "2000000").returncode == 0


def test_what_diverges_or_fails_is_not_judged_and_the_report_says_why(check) -> None:
    diverged = check(fault=DIVERGES)
    assert diverged.returncode == 2, diverged.stdout + diverged.stderr
    assert "seed 1000000 diverged" in " ".join(diverged.stdout.split())
    assert not diverged.stderr
    failed = check("--report", "failed", fault=FAILS)
    assert failed.returncode == 2, failed.stdout + failed.stderr
    (case,) = ElementTree.parse(check.folder / "failed.xml").getroot()
    assert "red | or blue" in case[0].attrib["message"]
    rows = (check.folder / "failed.md").read_text().splitlines()
    assert "red \\| or blue" in rows[4]
    assert rows[4].replace("\\|", "").count("|") == rows[2].count("|")
    rebase = check("--update-reference", "--seeds", "40", fault=DIVERGES)
    assert rebase.returncode == 2
    assert len(rebase.stderr.splitlines()) == 1


def test_nox_check_is_red_with_the_fault_and_green_without(check) -> None:
    home = Path(sys.prefix)
    if not (home / "installed").exists():
        pytest.skip("nox's environment is not the one that runs this: nox -s tests is")
    nox = (sys.executable, "-m", "nox", "--noxfile", str(ROOT / "noxfile.py"),
           "--envdir", str(home.parent), "-s", "check", "--")  # fmt: skip
    for fault, code in (("", 0), (FAULT, 1), ("", 0)):
        found = check(fault=fault, command=nox)
        assert found.returncode == code, found.stdout + found.stderr


def test_exact_names_the_first_step_that_differs(check) -> None:
    assert check("--bitwise").returncode == 0
    exact = check("--bitwise", "--report", "exact.xml", fault=FAULT)
    assert exact.returncode == 1
    assert "first differs at step" in exact.stdout
    (case,) = ElementTree.parse(check.folder / "exact.xml").getroot()
    assert "first differs at step" in case[0].attrib["message"]


def test_a_reference_of_other_numerics_is_not_judged(check) -> None:
    other = check(fault=OTHER_NUMERICS)
    assert other.returncode == 2
    assert "is of another numerics version" in other.stderr
