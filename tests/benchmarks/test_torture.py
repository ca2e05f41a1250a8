"""The campaigns' machinery: rows become a page, commands can be killed, mutants are made."""

from __future__ import annotations

import ast
import random
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import measurements
from benchmarks.torture import mutants, nonsense, page
from benchmarks.torture.campaigns import CAMPAIGNS, Row
from subspace_bench.reporting.render import write_page

RESULTS = Path(__file__).parents[2] / "results"


def test_rows_of_a_campaign_replace_its_earlier_ones(tmp_path: Path) -> None:
    bad = Row("bad input")
    bad.count("a traceback")
    bad.count()
    page.merge("bad_input", [Row("old", 1)], tmp_path)
    page.merge("killed", [Row("kill -9", 7, measured="fast")], tmp_path)
    page.merge("bad_input", [bad], tmp_path)
    rows = measurements.load(page.NAME, tmp_path).numbers
    assert rows[["campaign", "times", "wrong"]].to_numpy().tolist() == [
        ["killed", 7, 0],
        ["bad_input", 2, 1],
    ]
    written = page.page(measurements.load(page.NAME, tmp_path))
    assert written.tables["bad_input"]["lost or wrong"].tolist() == ["1"]
    assert "2 kinds" in written.summary
    assert write_page(written, tmp_path)[0].exists()


def test_a_campaign_is_finished_at_its_revision_unless_something_was_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = Row("bad input")
    bad.count("a traceback")
    monkeypatch.setattr(page, "revision", lambda: "12345678")
    assert not page.is_finished("killed", tmp_path)
    page.merge("killed", [Row("kill -9", 7)], tmp_path)
    page.merge("bad_input", [bad], tmp_path)
    assert page.is_finished("killed", tmp_path)
    assert not page.is_finished("bad_input", tmp_path)
    for other in ("12345678+", "87654321"):
        monkeypatch.setattr(page, "revision", lambda other=other: other)
        assert not page.is_finished("killed", tmp_path)


def test_the_committed_page_rebuilds_byte_for_byte(tmp_path: Path) -> None:
    found = measurements.load(page.NAME, RESULTS)
    for path in write_page(page.page(found), tmp_path):
        assert path.read_bytes() == (RESULTS / path.name).read_bytes()
    assert set(found.numbers["campaign"]) <= set(CAMPAIGNS)


def test_every_damage_changes_the_bytes_or_is_another_file() -> None:
    draw, data = random.Random(0), bytes(range(256))
    made = dict(nonsense.mutated(data, draw) for _ in range(200))
    assert len(made) == 11
    assert all(damaged != data for damaged in made.values())


@pytest.mark.parametrize(
    "source, count",
    [
        ("a < b", 1),
        ("a + 1", 2),
        ("'a' + b", 0),
        ("not a", 1),
        ("True", 1),
        ("if a:\n    b", 1),
        ("@f(True)\ndef g():\n    return False", 1),
    ],
)
def test_mutants_compile_and_differ(source: str, count: int, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(source)
    made = list(mutants.mutants(path, tmp_path))
    assert len(made) == count
    plain = ast.unparse(ast.parse(source))
    assert all(mutant.source != plain and ast.parse(mutant.source) for mutant in made)


def test_a_dropped_raise_and_a_lost_result_are_mutants(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("def f(x):\n    if x:\n        raise ValueError\n    return x\n")
    assert {mutant.change for mutant in mutants.mutants(path, tmp_path)} == {
        "condition negated",
        "raise dropped",
        "returns None",
    }


@pytest.mark.slow
def test_tests_run_on_a_mutant_and_find_it(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    subprocess.run(["git", "clone", "-q", str(mutants.HERE), str(tree)], check=True)
    path = tree / "subspace_bench" / "records" / "table.py"
    wrong = next(m for m in mutants.mutants(path, tree) if m.change == "condition negated")
    program = (
        "import sys; from pathlib import Path; from benchmarks.torture.mutants import *\n"
        "TESTS['records'] = ('tests/records/test_table.py',)\n"
        "mutant = Mutant(Path(sys.argv[1]), 0, '', sys.argv[2])\n"
        "(_, found), = try_all([mutant], 'records', 600.0, [Path(sys.argv[3])])\n"
        "sys.exit(found)"
    )
    for source, code in ((path.read_text(encoding="utf-8"), 0), (wrong.source, 1)):
        command = [sys.executable, "-c", program, str(wrong.path), source, str(tree)]
        done = subprocess.run(command, cwd=mutants.HERE, capture_output=True)
        assert done.returncode == code, done.stderr
