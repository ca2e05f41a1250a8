"""The fixture accuracy_regression, as a project that uses it sees it."""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path

import pytest

from subspace_bench.regression import pytest_plugin, suite
from subspace_bench.regression.reference import load

# pytester forgets what a test imports, and pandas cannot be imported twice: have it all before.
assert suite

pytest_plugins = ["pytester"]
EXAMPLE = Path(__file__).parents[2] / "examples" / "accuracy-ci"
PLUGIN = ("-p", "subspace_bench.regression.pytest_plugin", "-p", "no:cacheprovider")
# "Accuracies" that look random, around 90.
TEST = """
def train(seed):
    return 90 + seed * 0.618 % 1

def test_train(accuracy_regression):
    accuracy_regression.check(train)
"""


@pytest.fixture
def project(pytester, monkeypatch):
    """A project whose test has a reference. Calls pytest in it, after replacing parts of the test.

    Returns what pytester reports; `project.folder` is the folder of references.
    """
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def call(*arguments: str, **replaced: str) -> pytest.RunResult:
        text = TEST
        for old, new in PARTS.items():
            text = text.replace(new, replaced.get(old, new))
        pytester.makepyfile(test_accuracy=replaced.get("text", text))
        return pytester.runpytest_inprocess(*PLUGIN, *arguments)

    call.folder = pytester.path / "test_accuracy"  # type: ignore[attr-defined]
    assert call("--accuracy-update").ret == 0
    return call


PARTS = {"value": "90 + seed * 0.618 % 1", "check": "check(train)"}  # of TEST, by name


def test_it_passes_and_fails_after_a_change_in_either_direction(project) -> None:
    assert project().ret == 0
    assert project(value="85 + seed * 0.618 % 1").ret == 1
    assert project(value="95 + seed * 0.618 % 1").ret == 1
    assert project().ret == 0


def test_an_update_replaces_the_reference_and_shows_old_and_new(project) -> None:
    update = project("--accuracy-update", value="70 + seed * 0.618 % 1")
    assert update.ret == 0
    update.stdout.fnmatch_lines("*90.*70.*-20.*")
    assert project(value="70 + seed * 0.618 % 1").ret == 0
    assert (project.folder / "test_train.toml").read_text().count("values") == 2


@pytest.mark.parametrize(
    ("replaced", "named"),
    [
        ({"value": "float('nan')"}, "nan"),
        ({"check": "check(train, alpha=5)"}, "alpha is 5"),
        ({"check": "check(train, seeds='ten')"}, "seeds is 'ten'"),
        ({"check": "check(train, seeds=40)"}, "has 20 seeds"),
        ({"check": "check(lambda seed: '97.5')"}, "TypeError: '97.5'"),
        ({"check": "check(train, tolerance=-1)"}, "tolerance is -1"),
    ],
)
def test_what_cannot_be_judged_fails_with_one_clear_message(project, replaced, named) -> None:
    failed = project(**replaced)
    assert failed.ret == 1
    failed.stdout.fnmatch_lines(f"*{named}*")
    failed.stdout.no_fnmatch_line("*Traceback*")
    failed.stdout.no_fnmatch_line("*During handling*")


def test_what_a_training_raises_is_shown_with_its_traceback(project) -> None:
    for arguments in ((), ("--accuracy-update",)):
        failed = project(*arguments, value="1 / (seed * 0)")
        assert failed.ret == 1
        failed.stdout.fnmatch_lines(["*return 1 / (seed [*] 0)*", "*ZeroDivisionError*"])
        failed.stdout.fnmatch_lines("*the training of seed *0*")
        for hidden in ("*pytest_plugin.py*", "*During handling*", "*direct cause*"):
            failed.stdout.no_fnmatch_line(hidden)
    assert project().ret == 0  # the reference is as it was


def test_a_shift_within_the_tolerance_is_no_change(project) -> None:
    for shift, code in ((0, 0), (-1.5, 0), (1.5, 0), (-4, 1), (4, 1)):
        value = f"90 + seed * 0.618 % 1 + {shift}"
        assert project(value=value, check="check(train, tolerance=2)").ret == code
        assert project(value=value).ret == (1 if shift else 0)


def test_for_a_loss_a_rise_is_worse(project) -> None:
    failed = project(value="95 + seed * 0.618 % 1", check="check(train, higher_is_better=False)")
    failed.stdout.fnmatch_lines("*It went up, which is worse.*")


def test_an_update_says_what_it_can_detect(project) -> None:
    project("--accuracy-update").stdout.fnmatch_lines("*A drop of * or a rise of *")
    project("--accuracy-update", value="97.5").stdout.fnmatch_lines("*All 20 values*are equal*")


def test_checks_share_the_alpha_of_the_project(project, pytester) -> None:
    pytester.makeini("[pytest]\naccuracy_alpha = 0.02\naccuracy_checks = 4\n")
    failed = project(value="85 + seed * 0.618 % 1")
    failed.stdout.fnmatch_lines("*False-positive rate: at most 0.50%*")
    failed = project(value="85 + seed * 0.618 % 1", check="check(train, alpha=0.01)")
    failed.stdout.fnmatch_lines("*False-positive rate: at most 1.00%*")
    pytester.makeini("[pytest]\naccuracy_checks = 1\n")
    twice = "check(train); accuracy_regression.check(train, name='b')"
    assert project("--accuracy-update", check=twice).ret == 0
    project(check=twice).stdout.fnmatch_lines("*2 checks ran, but accuracy_checks is 1*")
    pytester.makeini("[pytest]\naccuracy_checks = few\n")
    project().stdout.fnmatch_lines("*accuracy_checks 'few'*")


def test_without_a_reference_it_names_the_option_that_makes_one(project) -> None:
    shutil.rmtree(project.folder)
    failed = project()
    assert failed.ret == 1
    failed.stdout.fnmatch_lines("*pytest --accuracy-update*")


SEVERAL = """
class TestA:
    def test_train(self, accuracy_regression):
        accuracy_regression.check(lambda seed: seed / 10, seeds=10)

class TestB:
    def test_train(self, accuracy_regression):
        accuracy_regression.check(lambda seed: seed / 10, seeds=10, name="first")
        accuracy_regression.check(lambda seed: seed / 10, seeds=10, name="second")

def test_twice(accuracy_regression):
    accuracy_regression.check(lambda seed: seed / 10, seeds=10)
    accuracy_regression.check(lambda seed: seed / 10, seeds=10)
"""


def test_every_training_has_a_reference_of_its_own(project) -> None:
    update = project("--accuracy-update", text=SEVERAL)
    update.assert_outcomes(passed=2, failed=1)
    update.stdout.fnmatch_lines("*give each check a name*")
    assert {path.stem for path in project.folder.glob("Test*.toml")} == {
        "TestA.test_train", "TestB.test_train.first", "TestB.test_train.second"
    }  # fmt: skip


SIMILAR = """
import pytest

@pytest.mark.parametrize("level", ["5 %", "5-%"])
def test_level(accuracy_regression, level):
    shift = {"5 %": 0, "5-%": 50}[level]
    accuracy_regression.check(lambda seed: seed % 10 / 10 + shift, seeds=10)

@pytest.mark.parametrize("word", ["long" * 100])
def test_long(accuracy_regression, word):
    accuracy_regression.check(lambda seed: seed % 10 / 10, seeds=10)
"""


def test_similar_names_have_different_files_in_any_order(project) -> None:
    assert project("--accuracy-update", text=SIMILAR).ret == 0
    assert len(list(project.folder.glob("test_level*.toml"))) == 2
    assert project(text=SIMILAR).ret == 0
    assert project("-k", "long", text=SIMILAR).ret == 0


@pytest.mark.slow
def test_workers_of_xdist_report_updates_and_find_references(project) -> None:
    workers = ("-p", "xdist.plugin", "-n", "2")
    update = project("--accuracy-update", *workers, text=SIMILAR)
    update.assert_outcomes(passed=3)
    update.stdout.fnmatch_lines("*accuracy regression*")
    assert project(*workers, text=SIMILAR).ret == 0


def test_other_seeds_repeat_a_check(project) -> None:
    refused = project("--accuracy-first-seed", "5")
    assert refused.ret == 1
    refused.stdout.fnmatch_lines("*--accuracy-first-seed is 5*")
    failed = project(value="85 + seed * 0.618 % 1")
    failed.stdout.fnmatch_lines("*--accuracy-first-seed 2000000*")
    assert project("--accuracy-first-seed", "2000000").ret == 0
    shifted_later = "90 + seed * 0.618 % 1 - 5 * (seed >= 2000000)"
    assert project(value=shifted_later).ret == 0
    assert project("--accuracy-first-seed", "2000000", value=shifted_later).ret == 1


def test_an_update_keeps_an_edited_reference_aside(project) -> None:
    path = project.folder / "test_train.toml"
    path.write_text(path.read_text().replace("values = [", "values = [1.0,", 1))
    assert project().ret == 1
    assert project("--accuracy-update").ret == 0
    assert len(list(project.folder.glob("test_train.toml.*.bad"))) == 1
    assert project().ret == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("", "", 0),
        ("images / 255", "images / 25500", 1),
        ("order[:4000], order[4000:]", "order, order[4000:]", 1),  # a leak
    ],
)
def test_the_example_passes_and_fails_with_a_bug(pytester, monkeypatch, old, new, code) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    shutil.copytree(EXAMPLE, pytester.path, dirs_exist_ok=True)
    training = pytester.path / "training.py"
    assert old in training.read_text()
    training.write_text(training.read_text().replace(old, new))
    monkeypatch.syspath_prepend(pytester.path)
    assert pytester.runpytest_inprocess(*PLUGIN).ret == code
    assert load(pytester.path / "test_accuracy" / "test_train.toml", "")["test_train"].values


def test_pytest_finds_the_plug_in_by_its_entry_point() -> None:
    (entry,) = metadata.entry_points(group="pytest11", name="accuracy-regression")
    assert entry.load() is pytest_plugin
