"""The fixture accuracy_regression, as a project that uses it sees it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from subspace_bench.regression import pytest_plugin

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "accuracy-ci"


@pytest.fixture
def project(tmp_path):
    """A copy of the example; calls pytest in it."""
    shutil.copytree(EXAMPLE, tmp_path / "project")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p",
                   "subspace_bench.regression.pytest_plugin", *arguments]  # fmt: skip
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        return subprocess.run(
            command, cwd=tmp_path / "project", env=env, capture_output=True, text=True
        )

    run.folder = tmp_path / "project"  # type: ignore[attr-defined]
    return run


def patched(project, old: str, new: str) -> None:
    path = project.folder / "training.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_green_as_it_is_red_with_a_fault_and_green_again(project) -> None:
    assert project().returncode == 0
    patched(project, "images / 255", "images / 25500")
    red = project()
    assert red.returncode == 1
    assert "It moved down" in red.stdout
    patched(project, "images / 25500", "images / 255")
    assert project().returncode == 0


def test_a_leak_is_a_move_up(project) -> None:
    patched(project, "order[:4000], order[4000:]", "order, order[4000:]")
    red = project()
    assert red.returncode == 1
    assert "It moved up" in red.stdout


def test_rebase_makes_a_reference_and_shows_old_and_new(project) -> None:
    patched(project, "epochs: int = 5", "epochs: int = 1")
    made = project("--accuracy-update")
    assert made.returncode == 0
    assert "old 90.05" in made.stdout
    assert project().returncode == 0
    assert (project.folder / "test_accuracy" / "test_train.toml").read_text().count("values") == 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("return float(", "return float('nan') * float(", "a training came to nan"),
        ("return float(", "return 1 / 0 * float(", "raised ZeroDivisionError"),
    ],
)
def test_what_cannot_be_judged_fails_and_says_why(project, old, new, said) -> None:
    patched(project, old, new)
    failed = project()
    assert failed.returncode == 1
    assert said in failed.stdout
    assert "Traceback" not in failed.stdout


def test_without_a_reference_it_says_how_to_make_one(project) -> None:
    shutil.rmtree(project.folder / "test_accuracy")
    failed = project()
    assert failed.returncode == 1
    assert "pytest --accuracy-update" in failed.stdout


TWO = """
from training import train

class TestA:
    def test_train(self, accuracy_regression):
        accuracy_regression.check(train, seeds=10)

class TestB:
    def test_train(self, accuracy_regression):
        accuracy_regression.check(lambda seed: seed / 10, seeds=10, name="first")
        accuracy_regression.check(lambda seed: seed / 10, seeds=10, name="second")

def test_twice(accuracy_regression):
    accuracy_regression.check(lambda seed: seed / 10, seeds=10)
    accuracy_regression.check(lambda seed: seed / 10, seeds=10)
"""


def test_every_training_has_a_reference_of_its_own(project) -> None:
    (project.folder / "test_accuracy.py").write_text(TWO)
    made = project("--accuracy-update")
    assert made.returncode == 1
    assert "is the reference of test_twice already: give check a name" in made.stdout
    found = {path.stem for path in (project.folder / "test_accuracy").glob("Test*.toml")}
    expected = {"TestA.test_train", "TestB.test_train.first", "TestB.test_train.second"}
    assert found == expected
    assert made.stdout.count(": new ") >= 3


ALIKE = """
import pytest
from training import train

@pytest.mark.parametrize("level", ["5 %", "5-%"])
def test_level(accuracy_regression, level):
    shift = {"5 %": 0, "5-%": 50}[level]
    accuracy_regression.check(lambda seed: seed % 10 / 10 + shift, seeds=10)

@pytest.mark.parametrize("word", ["long" * 100])
def test_long(accuracy_regression, word):
    accuracy_regression.check(lambda seed: seed % 10 / 10, seeds=10)
"""


def test_names_alike_have_files_of_their_own_in_any_process(project) -> None:
    (project.folder / "test_accuracy.py").write_text(ALIKE)
    spread = ("-p", "xdist.plugin", "-n", "2")
    assert project("--accuracy-update", *spread).returncode == 0
    assert len(list((project.folder / "test_accuracy").glob("test_level*.toml"))) == 2
    assert project(*spread).returncode == 0
    assert project("-k", "long").returncode == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("check(train)", "check(train, alpha=5)", "alpha is 5, no probability"),
        ("check(train)", "check(train, seeds='ten')", "seeds is 'ten': it must be a whole number"),
        ("check(train)", "check(lambda seed: '97.5')", "TypeError: '97.5' is no number"),
    ],
)
def test_bad_arguments_are_said_once(project, old, new, said) -> None:
    path = project.folder / "test_accuracy.py"
    path.write_text(path.read_text().replace(old, new))
    failed = project()
    assert failed.returncode == 1
    shown = failed.stdout.partition("short test summary")[0]
    assert shown.count(said) == 1 + ("97.5" in said)  # the sentence, and its row
    assert "During handling" not in failed.stdout


def test_other_seeds_say_whether_it_was_chance(project) -> None:
    assert "--accuracy-first-seed is 5: it must be" in project("--accuracy-first-seed", "5").stdout
    patched(project, "images / 255", "images / 25500")
    assert "--accuracy-first-seed 2000000" in project().stdout
    red = project("--accuracy-first-seed", "2000000")
    assert "--accuracy-first-seed 3000000" in red.stdout


def test_a_reference_that_was_edited_is_set_aside_by_a_rebase(project) -> None:
    path = project.folder / "test_accuracy" / "test_train.toml"
    path.write_text(path.read_text().replace("values = [", "values = [1.0,", 1))
    assert "was edited by hand" in project().stdout
    made = project("--accuracy-update")
    assert made.returncode == 0
    assert "kept as" in made.stdout
    assert len(list(path.parent.glob("test_train.toml.*.bad"))) == 1
    assert project().returncode == 0


def test_a_reference_of_fewer_seeds_than_asked_for_is_refused(project) -> None:
    path = project.folder / "test_accuracy.py"
    path.write_text(path.read_text().replace("check(train)", "check(train, seeds=40)"))
    failed = project()
    assert failed.returncode == 1
    assert "holds 20 seeds, fewer than 40" in failed.stdout


def test_pytest_finds_the_plug_in_by_its_entry_point() -> None:
    (found,) = metadata.entry_points(group="pytest11", name="accuracy-regression")
    assert found.load() is pytest_plugin
