"""`subspace-bench check` and its parts: references, outcomes and exit codes."""

from __future__ import annotations

import tomllib
from xml.etree import ElementTree

import numpy as np
import pytest

from subspace_bench.cli import main
from subspace_bench.common.errors import UserError
from subspace_bench.regression import check as checking
from subspace_bench.regression.reference import Reference, load, replaced, save
from subspace_bench.regression.suite import first_difference

VALUES = tuple(float(v) for v in 95 + np.random.default_rng(0).standard_normal(40))


def outcome_of(shift: float = 0.0, broken: str = "") -> list[checking.Outcome]:
    """A check of one reference whose new numbers are shifted, or fail."""
    draw = np.random.default_rng(1)

    def measure(tasks):
        return {task: broken or float(95 + shift + draw.standard_normal()) for task in tasks}

    return checking.check({"net": Reference(VALUES)}, measure)


def test_a_reference_survives_its_file_and_keeps_the_old_one(tmp_path) -> None:
    path = tmp_path / "r.toml"
    first = Reference(VALUES, {"run": "abc"}, {"cpu": "x"}, "00ff")
    save(path, {"net": first})
    assert load(path, "rebase") == {"net": first}
    save(path, {"net": Reference(VALUES[:20]), "other": first})
    assert load(path, "rebase") == {"net": Reference(VALUES[:20]), "other": first}
    assert "[[history]]" in path.read_text() or "history = [" in path.read_text()
    assert path.read_text().count("run = ") == 2  # the old one's, and the other's
    save(path, {"renamed": first})
    assert load(path, "rebase") == {"renamed": first}  # what is no longer checked is history
    assert len(tomllib.loads(path.read_text())["history"]) == 2


def test_damaged_references_are_refused_in_one_line(tmp_path) -> None:
    path = tmp_path / "r.toml"
    with pytest.raises(UserError, match="there is no reference file"):
        load(path, "rebase it")
    save(path, {"net": Reference(VALUES)})
    whole = path.read_text()
    path.write_text(whole.replace("94.", "93.", 1))
    with pytest.raises(UserError, match="edited by hand: restore it, or rebase it"):
        load(path, "rebase it")
    path.write_text(whole.replace("values = [", "values = [2020-01-01, "))
    with pytest.raises(UserError, match="is no reference file"):
        load(path, "rebase it")
    path.write_text(whole.replace("schema = 1", "schema = 9"))
    with pytest.raises(UserError, match="schema 9"):
        load(path, "rebase it")
    path.write_text("schema = ")
    with pytest.raises(UserError, match="is no reference file"):
        load(path, "rebase it")
    path.unlink()
    save(path, {"net": Reference(VALUES[:5])})
    with pytest.raises(UserError, match="has 5 numbers and the test needs 10"):
        load(path, "rebase it")
    with pytest.raises(UserError, match="NaN"):
        save(path, {"net": Reference((float("nan"),) * 20)})


def test_a_rebase_mends_what_it_is_the_remedy_for(tmp_path) -> None:
    path = tmp_path / "r.toml"
    save(path, {"net": Reference(VALUES[:5])})
    assert replaced(path) == {"net": Reference(VALUES[:5])}
    for digit in "78":  # each is kept
        edited = path.read_text().replace("94.", f"{digit}3.", 1)
        path.write_text(edited)
        assert replaced(path) == {}
        assert path.read_text() == edited
        assert "edited by hand: kept as" in save(path, {"net": Reference(VALUES)})
        assert load(path, "rebase it") == {"net": Reference(VALUES)}
    assert len(list(tmp_path.glob("r.toml.*.bad"))) == 2


@pytest.mark.parametrize(
    ("shift", "verdict", "code"), [(0.0, "within", 0), (-4.0, "moved", 1), (4.0, "moved", 1)]
)
def test_moves_in_both_directions_are_found(shift, verdict, code) -> None:
    outcomes = outcome_of(shift)
    assert [o.verdict for o in outcomes] == [verdict]
    assert checking.exit_code(outcomes) == code
    assert len(outcomes[0].values) in (2, 4, 8, 16)
    if shift:
        assert ("down" if shift < 0 else "leak") in outcomes[0].sentence


def test_the_direction_goes_by_ranks() -> None:
    values = iter([96.9, 97.1, 97.3, 0.0] * 4)  # all but the last are above all, the mean below
    [outcome] = checking.check(
        {"net": Reference(tuple(np.linspace(95, 96, 40).tolist()))},
        lambda tasks: {task: next(values) for task in tasks},
    )
    assert outcome.decision is not None
    assert outcome.decision.up


def test_doubt_takes_more_seeds_and_no_seed_twice() -> None:
    asked: list[checking.Task] = []

    def measure(tasks):
        asked.extend(tasks)
        return dict.fromkeys(tasks, float(np.mean(VALUES)) - 1.2 * float(np.std(VALUES)))

    [outcome] = checking.check({"net": Reference(VALUES)}, measure)
    assert len(asked) == len(set(asked)) == len(outcome.values) > 2
    assert not {seed for _, seed in asked} & set(range(40))


@pytest.mark.parametrize("broken", ["seed 3 raised ValueError: no", float("nan")])
def test_a_crash_in_one_run_reports_the_others(broken) -> None:
    good = Reference(VALUES)

    def measure(tasks):
        return {task: broken if task[0] == "bad" else 95.0 for task in tasks}

    bad, fine = checking.check({"bad": good, "fine": good}, measure)
    assert (bad.verdict, fine.verdict) == ("not judged", "within")
    assert checking.exit_code([bad, fine]) == 2
    assert str(broken) in bad.sentence


def test_a_reference_too_small_for_alpha_is_refused() -> None:
    with pytest.raises(UserError, match="net: 10 numbers cannot tell a move at an alpha of 1e-09"):
        checking.check({"net": Reference(VALUES[:10])}, lambda tasks: {}, alpha=1e-9)


def test_other_seeds_can_be_asked_for() -> None:
    asked: list[int] = []

    def measure(tasks):
        asked.extend(seed for _, seed in tasks)
        return dict.fromkeys(tasks, float(np.mean(VALUES)))

    checking.check({"net": Reference(VALUES)}, measure, first=77)
    assert asked[:2] == [77, 78]


def test_digits_fit_the_spread() -> None:
    [outcome] = checking.check(
        {"net": Reference(tuple(v / 100 for v in VALUES))}, lambda t: dict.fromkeys(t, 0.95)
    )
    assert checking.frame([outcome])["reference"][0] == "0.9494 ± 0.0080"


def test_pages_say_what_was_judged() -> None:
    outcomes = [*outcome_of(-4.0), *outcome_of(broken="seed 1 failed: no")]
    assert "# Accuracy check: not all could be judged" in checking.markdown(outcomes, 0.01)
    assert "Wilcoxon" in checking.markdown(outcomes, 0.01)
    suite = ElementTree.fromstring(checking.junit(outcomes))
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors")}
    assert counts == {"tests": "2", "failures": "1", "errors": "1"}


def test_the_first_differing_step_is_named() -> None:
    assert first_difference("aaaaaaaabbbbbbbb", "aaaaaaaabbbbbbbb") is None
    assert first_difference("aaaaaaaabbbbbbbb", "aaaaaaaabbbbbbbc") == 2
    assert first_difference("aaaaaaaa", "aaaaaaaabbbbbbbb") == 2


def test_bad_options_are_one_line_and_exit_code_2(tmp_path, capsys) -> None:
    missing = str(tmp_path / "no.toml")
    (tmp_path / "file").touch()
    for arguments, said in [
        (["--reference", missing], "there is no reference file"),
        (["--alpha", "1.5"], "--alpha is 1.5"),
        (["--seeds", "5", "--update-reference"], "--seeds is 5"),
        (["--jobs", "0"], "--jobs is 0"),
        (["--first-seed", "5"], "--first-seed is 5: it must be 1000000 or more"),
        (["--report", str(tmp_path / "file" / "check.md")], "choose another place with --report"),
        (["--update-reference", "--bitwise"], "take one"),
    ]:
        with pytest.raises(SystemExit) as ended:
            main(["check", *arguments])
        error = capsys.readouterr().err
        assert ended.value.code == 2
        assert said in error
        assert len(error.splitlines()) == 1


def test_a_reference_of_another_protocol_is_refused(tmp_path, capsys) -> None:
    path = tmp_path / "r.toml"
    save(path, {"net": Reference(VALUES, {"run": "other"})})
    with pytest.raises(SystemExit) as ended:
        main(["check", "--reference", str(path)])
    assert ended.value.code == 2
    assert "is of other runs" in capsys.readouterr().err
