"""`reproduce` from end to end, on tables of tiny runs that stand in for the suite's own."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from subspace_bench import cli
from subspace_bench.cli import reproduce_flow
from subspace_bench.cli.progress import Display, labels
from subspace_bench.cli.reproduce_flow import gather, summary
from subspace_bench.datasets import mnist
from subspace_bench.experiments import STUDIES, Evidence, Page, Plan, Study
from subspace_bench.records.config import RunConfig, TrainingConfig
from subspace_bench.records.store import Store
from subspace_bench.training.cost import Cost
from subspace_bench.training.executor import Event

RUN = RunConfig("mlp-16", "default", TrainingConfig(steps=4, batch=64, lr=3e-3, score_every=2))


PAGES: list[str] = []  # made, in order


def table(name: str, *runs: RunConfig) -> Study:
    """An experiment that shows which of its runs have an own record."""

    def page(evidence: Evidence) -> Page:
        PAGES.append(name)
        rows = [{"run": r.label, "own": evidence.sample(r, own=True).show()} for r in runs]
        frame = pd.DataFrame(rows)
        return Page(f"Table {name}", [], frame, frame, [], "fine")

    return Study(name, f"Table {name}", lambda plan: plan.all_seeds(list(runs)), page)


@pytest.fixture
def tiny(monkeypatch):
    """Tables one and two, which share a run, on the embedded digits."""
    shared = replace(RUN, init="he")
    longer = replace(RUN, protocol=replace(RUN.protocol, steps=6))
    real = dict(STUDIES)  # put back whole: the index follows its order
    STUDIES.clear()
    STUDIES.update(one=table("one", RUN, shared), two=table("two", shared, longer))
    monkeypatch.setattr(mnist, "load_or_embedded", lambda name, root: mnist.embedded())
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)
    STUDIES.clear()
    STUDIES.update(real)


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main(["reproduce", "--device", "cpu", *arguments])
    assert isinstance(end.value.code, int)
    return end.value.code


def test_it_trains_what_is_missing_and_writes_the_tables(tiny, tmp_path: Path, capsys) -> None:
    out = str(tmp_path)
    assert call("one", "--out", out, "--jobs", "1") == 0
    said = capsys.readouterr().out
    assert "MNIST could not be had" in said or "mnist could not be had" in said
    assert "2 to train: about" in said
    assert said.index("to train") < said.index("starts") < said.index("Table one")
    assert len(list(Store(tmp_path / "runs").records())) == 2
    assert "MNIST-5k" in (tmp_path / "one.md").read_text()
    assert (tmp_path / "one.csv").exists()
    assert (tmp_path / "README.md").exists()
    assert not (tmp_path / "two.md").exists()

    assert call("--out", out, "--seeds", "2") == 0
    said = capsys.readouterr().out
    assert "2 of 6 runs have their record, 4 to train" in said
    assert "n = 2" in (tmp_path / "two.md").read_text()

    assert call("--out", out, "--seeds", "2") == 0
    assert "nothing to train" in capsys.readouterr().out


def test_each_page_is_made_once(tiny, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("subspace_bench.cli.reproduce_flow.carry_out", lambda *_: [])
    PAGES.clear()
    assert call("--out", str(tmp_path)) == 0
    assert sorted(PAGES) == ["one", "two"]


def test_tables_that_train_nothing_say_which_profile_does(tmp_path: Path) -> None:
    own, plan = Store(tmp_path / "runs"), Plan()
    work = gather(["tutorials", "claims"], plan, own)
    assert summary(work, 1) == (
        "nothing to train; tutorials and claims: trained by --profile full only"
    )
    work = gather(["tutorials", "mnist-lite"], plan, own)
    assert summary(work, 1).startswith("0 of 4 runs have their record, 4 to train")
    assert summary(work, 1).endswith("; tutorials: trained by --profile full only")


def test_a_page_that_is_withheld_is_said_to_be_and_stays(
    tiny, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr("subspace_bench.cli.reproduce_flow.carry_out", lambda *_: [])
    STUDIES["one"] = replace(STUDIES["one"], withheld=lambda evidence: "not from these")
    (tmp_path / "one.md").write_text("as it was\n")
    assert call("one", "--out", str(tmp_path)) == 0
    assert "one: not from these" in capsys.readouterr().out
    assert (tmp_path / "one.md").read_text() == "as it was\n"


def test_force_trains_again(tiny, tmp_path: Path) -> None:
    assert call("one", "--out", str(tmp_path)) == 0
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").glob("*.json")}
    assert call("one", "--out", str(tmp_path), "--force") == 0
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").glob("*.json")}
    assert before.keys() == after.keys()
    assert all(after[p] > before[p] for p in before)


def test_force_interrupted_goes_on_with_what_is_left(
    tiny, tmp_path: Path, capsys, monkeypatch
) -> None:
    """What was trained again is kept, what had begun goes on, and what had not is trained."""
    own = Store(tmp_path / "runs")
    assert call("--out", str(tmp_path), "--jobs", "1") == 0
    before = {r.run: r.result for r in own.records()}
    checkpoint = own.checkpoint(next(iter(before)))
    checkpoint.write_bytes(b"of an earlier training")
    real = reproduce_flow.run_all

    def pressed(runs, *rest):
        assert not checkpoint.exists()
        assert not list(own.records())
        real(runs[:1], *rest)
        raise KeyboardInterrupt

    asked = ["--out", str(tmp_path), "--jobs", "1", "--force"]
    monkeypatch.setattr("sys.argv", ["subspace-bench", "reproduce", *asked])
    monkeypatch.setattr(reproduce_flow, "carry_out", pressed)
    capsys.readouterr()
    assert call(*asked) == 130
    said = capsys.readouterr().err.strip()
    assert "1 of 3 records and 0 checkpoints are kept" in said
    go_on = said.split("To go on: subspace-bench reproduce ")[1].split()
    assert go_on == asked[:-1]
    [kept] = own.folder.glob("*.json")
    first = kept.stat().st_mtime_ns
    monkeypatch.setattr(reproduce_flow, "carry_out", real)
    assert call(*go_on) == 0
    assert "1 of 3 runs have their record, 2 to train" in capsys.readouterr().out
    assert kept.stat().st_mtime_ns == first
    assert {r.run: r.result for r in own.records()} == before


def test_interrupted_before_anything_was_deleted_force_stays(
    tiny, tmp_path: Path, capsys, monkeypatch
) -> None:
    assert call("one", "--out", str(tmp_path)) == 0

    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mnist, "load_or_embedded", pressed)
    monkeypatch.setattr("sys.argv", ["subspace-bench", "reproduce", "one", "--force"])
    assert call("one", "--out", str(tmp_path), "--force") == 130
    said = capsys.readouterr().err.strip()
    assert said == "interrupted. To start again: subspace-bench reproduce one --force"
    assert len(list(Store(tmp_path / "runs").records())) == 2


def test_runs_of_one_label_are_told_apart() -> None:
    longer, other = RUN.with_steps(6_000), replace(RUN, init="he")
    third = replace(RUN, dataset="mnist-5k")
    alone = replace(RUN, seed=1)
    assert list(labels([RUN, longer, alone]).values()) == [
        "mlp-16 d=D seed 0, 4 updates",
        "mlp-16 d=D seed 0, 6,000 updates",
        "mlp-16 d=D seed 1",
    ]
    assert labels([RUN, longer, other])[other] == "mlp-16 d=D seed 0, 4 updates, init he"
    assert labels([RUN, third])[third] == "mlp-16 d=D seed 0, dataset mnist-5k"


def test_failures_are_said_and_all_pages_are_written(
    tiny, tmp_path: Path, capsys, monkeypatch
) -> None:
    bad = replace(RUN, model="conv", dim=10**7, projector="gaussian")
    monkeypatch.setattr("subspace_bench.training.cost.estimate", lambda run: Cost(1, 1, 1e6, 1e3))
    monkeypatch.setitem(STUDIES, "two", table("two", bad, RUN))
    assert call("--out", str(tmp_path), "--jobs", "1") == 1
    failed = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(failed) == 1
    assert failed[0].startswith("failed: conv d=10,000,000 seed 0: ")
    assert "not run" in (tmp_path / "two.md").read_text()
    assert (tmp_path / "one.md").exists()


def test_ctrl_c_says_what_is_kept_and_how_to_go_on(
    tiny, tmp_path: Path, capsys, monkeypatch
) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("subspace_bench.cli.reproduce_flow.carry_out", pressed)
    monkeypatch.setattr("sys.argv", ["subspace-bench", "reproduce", "one"])
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "of-another-run.checkpoint").write_bytes(b"")
    assert call("one", "--out", str(tmp_path)) == 130
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0
    assert "0 of 2 records" in said
    assert "and 0 checkpoints are kept" in said
    assert said.endswith("To go on: subspace-bench reproduce one")
    monkeypatch.setenv("NOX_CURRENT_SESSION", "reproduce")
    assert cli.this_command() == "nox -s reproduce -- one"


def test_without_a_terminal_a_run_speaks_every_quarter_minute(capsys) -> None:
    clock = iter(range(0, 1_000, 5))
    costs = {RUN: Cost(0, 8, 1e6, 1e3)}
    with Display(Console(width=100), costs, labels(costs), 1, lambda: next(clock)) as display:
        display.tell(Event("started", RUN))
        for i in range(7):
            display.tell(Event("progress", RUN, updates=1, accuracy=12.5, seconds=float(i)))
        display.tell(Event("done", RUN, 4, 50.0))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0] == "mlp-16 d=D seed 0: starts, 4 updates, about 8 s"
    assert lines[1] == "mlp-16 d=D seed 0: update 1 of 4, 12.50%, 6 s left"
    assert lines[-1] == "mlp-16 d=D seed 0: 50.00%"


def test_on_a_terminal_there_is_a_bar_a_run() -> None:
    screen = Console(force_terminal=True, width=100, record=True)
    with Display(screen, {RUN: Cost(0, 8, 1e6, 1e3)}, labels([RUN]), 1) as display:
        display.tell(Event("started", RUN))
        display.tell(Event("progress", RUN, updates=2, accuracy=12.5, seconds=1.0))
        assert display.bars is not None
        assert [task.description for task in display.bars.tasks] == ["all runs", RUN.label]
        display.tell(Event("failed", RUN, reason="no reason"))
    assert "mlp-16 d=D seed 0: failed: no reason" in screen.export_text()


def test_a_record_of_another_schema_is_named_before_anything_is_trained(
    tiny, tmp_path: Path, capsys
) -> None:
    old = tmp_path / "runs" / "old.json"
    old.parent.mkdir()
    old.write_text('{"schema": 0}')
    assert call("one", "--out", str(tmp_path)) == 2
    assert f"error: {old} is not a record of ours (it has schema 0" in capsys.readouterr().err
    assert list(old.parent.iterdir()) == [old]
