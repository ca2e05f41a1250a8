"""`subspace-bench check` and `nox -s check` on a tiny suite: in this process, and end to end."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from subspace_bench.cli import main
from subspace_bench.datasets import loading
from subspace_bench.regression import suite
from subspace_bench.regression.reference import load
from subspace_bench.training import loop, presets
from subspace_bench.training.executor import Event

ROOT = Path(__file__).parents[2]


def junit_case(path: Path) -> ElementTree.Element:
    (case,) = ElementTree.parse(path).getroot()
    return case


@pytest.fixture(scope="module")
def trained_reference() -> dict[str, str]:
    """The reference's text, once the first test has trained its 40 seeds."""
    return {}


@pytest.fixture
def check(monkeypatch, tmp_path, digits, trained_reference):
    """Calls check on one tiny run, trained in this process; there is a reference of 40 seeds.

    Keyword `step` replaces the training step by a function of (original, flat, optimizer, x, y).
    """
    run = presets.full_space("mlp-16", 1e-2)
    run = replace(run, protocol=replace(run.protocol, steps=20, score_first=20, score_every=20))
    monkeypatch.setattr(suite, "runs", lambda name="mnist": {"net": replace(run, dataset=name)})
    monkeypatch.setattr(loading, "load_or_embedded", lambda root=None: digits)

    def train_all(runs, store, root, jobs, on_event):
        failures = []
        for run in runs:
            try:
                record = loop.train(run, digits)
                store.put(record)
                on_event(Event("done", run, record))
            except RuntimeError as failure:
                failures.append(Event("failed", run, failure))
                on_event(failures[-1])
        return failures

    monkeypatch.setattr(suite, "train_all", train_all)
    original = loop.step

    def call(*arguments: str, step=None) -> int:
        new = original if step is None else lambda *args: step(original, *args)
        monkeypatch.setattr(loop, "step", new)
        with pytest.raises(SystemExit) as ended:
            main(["check", "--reference", str(tmp_path / "r.toml"), *arguments])
        return int(ended.value.code or 0)

    if not trained_reference:
        assert call("--update-reference", "--seeds", "40") == 0
        trained_reference["text"] = (tmp_path / "r.toml").read_text()
    (tmp_path / "r.toml").write_text(trained_reference["text"])
    return call


def shift_labels(original, flat, optimizer, x, y):
    return original(flat, optimizer, x, torch.where(y < 3, y + 1, y))


def diverge(original, flat, optimizer, x, y):
    return original(flat, optimizer, x * float("nan"), y)


def fail(*args):
    raise RuntimeError("\x1b[31mred | or blue")


def test_it_fails_with_a_mutation_and_passes_without(check, tmp_path, capsys) -> None:
    assert check("--report", str(tmp_path / "check")) == 0
    assert "| net " in (tmp_path / "check.md").read_text()
    assert len(junit_case(tmp_path / "check.xml")) == 0
    capsys.readouterr()
    assert check("--report", str(tmp_path / "check.xml"), step=shift_labels) == 1
    assert junit_case(tmp_path / "check.xml")[0].tag == "failure"
    assert "--first-seed 2000000" in capsys.readouterr().out
    assert check("--first-seed", "2000000") == 0


def test_runs_that_diverge_or_fail_are_not_judged(check, tmp_path, capsys) -> None:
    assert check(step=diverge) == 2
    assert check("--report", str(tmp_path / "check"), step=fail) == 2
    assert "red | or blue" in junit_case(tmp_path / "check.xml")[0].attrib["message"]
    table = [row for row in (tmp_path / "check.md").read_text().splitlines() if "|" in row]
    assert len({row.replace("\\|", "").count("|") for row in table}) == 1  # cells are escaped
    capsys.readouterr()
    before = (tmp_path / "r.toml").read_text()
    assert check("--update-reference", "--seeds", "40", step=diverge) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert (tmp_path / "r.toml").read_text() == before


@pytest.mark.slow
def test_an_update_replaces_the_reference(check, tmp_path) -> None:
    before = load(tmp_path / "r.toml", "")["net"]
    assert check("--update-reference", "--seeds", "50", step=shift_labels) == 0
    after = load(tmp_path / "r.toml", "")["net"]
    assert (before.sample.n, after.sample.n) == (40, 50)
    assert after.sample.mean < before.sample.mean
    assert check(step=shift_labels) == 0
    assert check() == 1


def test_bitwise_names_the_first_step_that_differs(check, tmp_path) -> None:
    report, calls = tmp_path / "bitwise.xml", []

    def change_at_7(original, flat, optimizer, x, y):
        calls.append(1)
        return original(flat, optimizer, x, y if len(calls) < 7 else (y + 1) % 10)

    assert check("--bitwise", "--report", str(report)) == 0
    assert check("--bitwise", "--report", str(report), step=change_at_7) == 1
    assert junit_case(report)[0].attrib["message"].endswith("step 7")
    assert check("--bitwise", "--report", str(report), step=fail) == 2
    assert junit_case(report)[0].tag == "error"


def test_a_reference_of_other_numerics_is_refused(check, monkeypatch) -> None:
    monkeypatch.setattr(suite, "NUMERICS", 99)
    assert check() == 2


# Every Python that starts imports this: mutations come from outside the package. The command and
# its workers need it; nox and multiprocessing's resource tracker do not import torch.
MUTATION = """
import sys
if {"subspace_bench", "--multiprocessing-fork"} & set(sys.orig_argv):
    from subspace_bench.training import loop, presets
    from subspace_bench.regression import suite
    from dataclasses import replace
    def tiny(dataset="mnist-5k"):
        run = replace(presets.full_space("mlp-16", 1e-2), dataset="mnist-5k")
        protocol = replace(run.protocol, steps=20, score_first=20, score_every=20)
        return {"net": replace(run, protocol=protocol)}
    suite.runs = tiny
    def step(net, optimizer, x, y, original=loop.step):
        return original(net, optimizer, x, y + (y < 3))
    loop.step = step
"""
COMMAND = (sys.executable, "-m", "subspace_bench", "check")


@pytest.mark.slow
@pytest.mark.usefixtures("check")  # trains the reference
def test_workers_train_with_the_mutation(tmp_path) -> None:
    """In processes: in nox's environment, `nox -s check` starts them."""
    home = Path(sys.prefix)
    nox = (sys.executable, "-m", "nox", "--noxfile", str(ROOT / "noxfile.py"),
           "--envdir", str(home.parent), "-s", "check", "--")  # fmt: skip
    command = nox if (home / "installed").exists() else COMMAND
    (tmp_path / "sitecustomize.py").write_text(MUTATION)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    env.pop("SUBSPACE_BENCH_DATA", None)
    report = tmp_path / "check.xml"
    options = ["--reference", str(tmp_path / "r.toml"), "--report", str(report), "--jobs", "1"]
    assert subprocess.run([*command, *options], env=env, cwd=tmp_path).returncode == 1
    assert junit_case(report)[0].tag == "failure"
