"""The check and its parts: references, outcomes, reports and exit codes."""

from __future__ import annotations

import datetime
import math
import os
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import tomli_w

from subspace_bench.common.errors import UserError
from subspace_bench.common.files import digest
from subspace_bench.datasets.dataset import Dataset
from subspace_bench.regression import check as checking
from subspace_bench.regression import report, suite
from subspace_bench.regression.reference import Reference, load, load_old, save
from subspace_bench.regression.sequential import CHANGED, NO_CHANGE

VALUES = tuple(float(v) for v in 95 + np.random.default_rng(0).standard_normal(40))
REMEDY = "make another one"


def check_shifted(shift: float = 0.0, failure: str = "") -> list[checking.Outcome]:
    """A check of one reference whose new values are shifted, or fail."""
    rng = np.random.default_rng(1)

    def measure(tasks):
        return {task: failure or float(95 + shift + rng.standard_normal()) for task in tasks}

    return checking.check({"net": Reference(VALUES)}, measure)


def test_a_file_keeps_references_and_their_history(tmp_path) -> None:
    path = tmp_path / "r.toml"
    first = Reference(VALUES, {"run": "abc"}, {"cpu": "x"}, "0000803f")
    assert save(path, {"net": first}) is None
    assert load(path, REMEDY) == {"net": first}
    save(path, {"net": Reference(VALUES[:20]), "other": first})
    assert load(path, REMEDY) == {"net": Reference(VALUES[:20]), "other": first}
    save(path, {"renamed": first})
    assert load(path, REMEDY) == {"renamed": first}  # references no longer checked: history
    history = tomllib.loads(path.read_text())["history"]
    assert [sorted(old) for old in history] == [["net", "other"], ["net"]]


def test_damaged_references_are_refused_in_one_line(tmp_path) -> None:
    path = tmp_path / "r.toml"
    with pytest.raises(UserError, match=REMEDY):
        load(path, REMEDY)
    save(path, {"net": Reference(VALUES)})
    content = path.read_text()
    for old, new in [
        ("94.", "93."),  # edited
        ("values = [", "values = [2020-01-01, "),
        ("schema = 1", "schema = 9"),
        (content, "schema = "),
    ]:
        path.write_text(content.replace(old, new, 1))
        with pytest.raises(UserError, match=REMEDY):
            load(path, REMEDY)
    path.unlink()
    save(path, {"net": Reference(VALUES[:5])})
    with pytest.raises(UserError, match=r"5 values.*10 or more"):
        load(path, REMEDY)
    with pytest.raises(UserError, match="NaN"):
        save(path, {"net": Reference((float("nan"),) * 20)})


def written(path: Path, content: dict[str, Any]) -> Path:
    """A reference file whose checksum fits."""
    head = {"schema": 1, "sha256": digest(content)}
    path.write_text(tomli_w.dumps({**head, **content}))
    return path


ENTRY: dict[str, Any] = {"values": [94.0] * 40, "identity": {}, "origin": {}}
NONSENSE: dict[str, dict[str, Any]] = {
    "NaN": {"values": [math.nan] * 40},
    "infinity": {"values": [94.0] * 39 + [math.inf]},
    "1e308": {"values": [1e308] * 40},
    "huge": {"values": [10**400] * 40},
    "text": {"values": ["94"] * 40},
    "truth": {"values": [True] * 40},
    "a number": {"values": 94.0},
    "a table": {"values": {"0": 94.0}},
    "dates": {"values": [datetime.date(2020, 1, 1)] * 40},
    "losses of text": {"losses": "none"},
    "losses of numbers": {"losses": [1.0]},
    "identity of text": {"identity": "mnist"},
    "an unknown entry": {"weights": [1.0]},
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_whose_checksum_fits_is_refused(name: str, tmp_path: Path) -> None:
    content = {"history": [], "reference": {"net": {**ENTRY, **NONSENSE[name]}}}
    try:
        path = written(tmp_path / "r.toml", content)
    except TypeError:  # JSON has no dates
        path = tmp_path / "r.toml"
        path.write_text(tomli_w.dumps({"schema": 1, "sha256": "0" * 64, **content}))
    with pytest.raises(UserError, match=REMEDY) as failure:
        load(path, REMEDY)
    assert str(path) in str(failure.value)
    assert "\n" not in str(failure.value)


SHAPES: list[dict[str, Any]] = [
    {},
    {"reference": [ENTRY]},
    {"reference": {"net": 3}},
    {"reference": {"net": {}}},
    {"reference": {"net": ENTRY}, "history": [{"net": 3}]},
]


@pytest.mark.parametrize("content", SHAPES)
def test_files_of_another_shape_are_refused(content: dict[str, Any], tmp_path: Path) -> None:
    path = written(tmp_path / "r.toml", {"history": [], **content})
    with pytest.raises(UserError, match=REMEDY):
        load(path, REMEDY)
    assert load_old(path) == {}


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 50_000,
        "a = " + "9" * 5_000,
        "a = 1\na = 1",
        "\x00",
        "schema = 1",
        "[reference]\n[reference]",
    ],
    ids=["deep", "huge", "repeated key", "zero", "empty", "repeated table"],
)
def test_text_that_breaks_parsers_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=REMEDY):
        load(path, REMEDY)


def test_a_reference_that_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(UserError, match=REMEDY):
            load(path, REMEDY)
        with pytest.raises(UserError, match="move it away"):
            save(path, {"net": Reference(VALUES)})


def test_an_update_repairs_small_and_edited_references(tmp_path) -> None:
    path = tmp_path / "r.toml"
    save(path, {"net": Reference(VALUES[:5])})
    assert load_old(path) == {"net": Reference(VALUES[:5])}
    for digit in "78":
        edited = path.read_text().replace("94.", f"{digit}3.", 1)
        path.write_text(edited)
        assert load_old(path) == {}
        moved_to = save(path, {"net": Reference(VALUES)})
        assert moved_to is not None
        assert moved_to.read_text() == edited
        assert load(path, REMEDY) == {"net": Reference(VALUES)}
    assert len(list(tmp_path.glob("r.toml.*.bad"))) == 2


@pytest.mark.parametrize(
    ("shift", "verdict", "code"), [(0.0, NO_CHANGE, 0), (-4.0, CHANGED, 1), (4.0, CHANGED, 1)]
)
def test_changes_in_both_directions_are_detected(shift, verdict, code) -> None:
    [outcome] = check_shifted(shift)
    assert outcome.verdict == verdict
    assert checking.exit_code([outcome]) == code
    assert len(outcome.values) in (2, 4, 8, 16)
    assert outcome.decision is not None
    assert outcome.decision.up == (shift > 0) or not shift


def test_the_direction_is_that_of_the_ranks() -> None:
    values = iter([96.9, 97.1, 97.3, 0.0] * 4)  # all but the last rank above, the mean is below
    [outcome] = checking.check(
        {"net": Reference(tuple(np.linspace(95, 96, 40).tolist()))},
        lambda tasks: {task: next(values) for task in tasks},
    )
    assert outcome.decision is not None
    assert outcome.decision.up


def test_an_inconclusive_stage_adds_seeds_and_repeats_none() -> None:
    asked: list[checking.Task] = []

    def measure(tasks):
        asked.extend(tasks)
        return dict.fromkeys(tasks, float(np.mean(VALUES)) - 1.2 * float(np.std(VALUES)))

    [outcome] = checking.check({"net": Reference(VALUES)}, measure)
    assert len(asked) == len(set(asked)) == len(outcome.values) > 2
    assert not {seed for _, seed in asked} & set(range(40))
    asked.clear()
    checking.check({"net": Reference(VALUES)}, measure, first_seed=77)
    assert asked[:2] == [("net", 77), ("net", 78)]


@pytest.mark.parametrize("failure", ["seed 3 raised ValueError: no", float("nan")])
def test_a_failed_run_does_not_stop_the_others(failure) -> None:
    reference = Reference(VALUES)

    def measure(tasks):
        return {task: failure if task[0] == "bad" else 95.0 for task in tasks}

    bad, good = checking.check({"bad": reference, "good": reference}, measure)
    assert (bad.verdict, good.verdict) == (checking.NOT_JUDGED, NO_CHANGE)
    assert checking.exit_code([bad, good]) == 2
    assert str(failure) in bad.failure


def test_an_update_with_a_failed_run_saves_no_reference(tmp_path: Path, digits: Dataset) -> None:
    class Trainer(suite.Trainer):
        def __call__(self, tasks: Any, folder: Path | None = None) -> dict[Any, float | str]:
            return {task: "out of memory" if task == tasks[-1] else 95.0 for task in tasks}

    path = tmp_path / "reference.toml"
    with pytest.raises(UserError):
        suite.update(path, Trainer(digits, None, 1, print), seeds=2)
    assert not list(tmp_path.iterdir())


def test_a_reference_too_small_for_alpha_is_refused() -> None:
    with pytest.raises(UserError, match="net: 10 reference values"):
        checking.check({"net": Reference(VALUES[:10])}, lambda tasks: {}, alpha=1e-9)


def test_digits_fit_the_spread() -> None:
    [outcome] = checking.check(
        {"net": Reference(tuple(v / 100 for v in VALUES))}, lambda t: dict.fromkeys(t, 0.95)
    )
    assert report.frame([outcome])["reference"][0] == "0.9494 ± 0.0080"


def test_reports_have_every_outcome() -> None:
    outcomes = [*check_shifted(-4.0), *check_shifted(failure="seed 1 failed: no")]
    rows = [line for line in report.markdown(outcomes, 0.01).splitlines() if "| net" in line]
    assert len(rows) == 2
    suites = ElementTree.fromstring(report.junit(outcomes))
    counts = {name: suites.get(name) for name in ("tests", "failures", "errors")}
    assert counts == {"tests": "2", "failures": "1", "errors": "1"}


def test_the_first_differing_step() -> None:
    assert suite.first_difference("aaaaaaaabbbbbbbb", "aaaaaaaabbbbbbbb") == 0
    assert suite.first_difference("aaaaaaaabbbbbbbb", "aaaaaaaabbbbbbbc") == 2
    assert suite.first_difference("aaaaaaaa", "aaaaaaaabbbbbbbb") == 2


def test_references_beyond_100_percent_are_refused(digits) -> None:
    wrong = {
        name: Reference((*VALUES[:-1], 150.0), suite.identity(run, digits))
        for name, run in suite.runs(digits.name).items()
    }
    with pytest.raises(UserError, match="no accuracy"):
        suite.require_identity(wrong, digits)


def test_a_reference_without_losses_is_not_called_changed(digits) -> None:
    here = suite.origin()
    references = {
        name: Reference(VALUES, suite.identity(run, digits), here)
        for name, run in suite.runs(digits.name).items()
    }
    with pytest.raises(UserError, match="losses"):
        suite.compare_losses(references, digits)


def test_references_of_other_runs_data_and_protocols_are_refused(digits) -> None:
    right = {
        name: Reference(VALUES, suite.identity(run, digits))
        for name, run in suite.runs(digits.name).items()
    }
    suite.require_identity(right, digits)
    with pytest.raises(UserError, match="other runs"):
        suite.require_identity({"net": Reference(VALUES)}, digits)
    for key, difference in [
        ("data", "other data"), ("numerics", "another numerics"), ("run", "another protocol")
    ]:  # fmt: skip
        wrong = Reference(VALUES, {**right["FC"].identity, key: "other"})
        with pytest.raises(UserError, match=difference):
            suite.require_identity({**right, "FC": wrong}, digits)
