"""`reproduce` from end to end, on pages of tiny runs that stand in for the suite's own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from subspace_bench import cli
from subspace_bench.cli.options import this_command
from subspace_bench.datasets import loading
from subspace_bench.datasets.embedded import embedded_digits
from subspace_bench.experiments import STUDIES, Evidence, Page, Study
from subspace_bench.experiments.study import make_page
from subspace_bench.records.config import RunConfig, TrainingConfig
from subspace_bench.records.store import Record, Store
from subspace_bench.training import runner
from subspace_bench.training.cost import Cost, plan_workload
from subspace_bench.training.executor import Event, run_all

RUN = RunConfig("mlp-16", "default", TrainingConfig(steps=4, batch=64, lr=3e-3, score_every=2))
LOCAL: list[tuple[str, list[int]]] = []  # pages made: name, local records of each run


def make_study(name: str, *runs: RunConfig) -> Study:
    """A page that shows how many local records each run has."""

    def page(evidence: Evidence) -> Page:
        counts = [len(evidence.local(run)) for run in runs]
        LOCAL.append((name, counts))
        frame = pd.DataFrame({"run": [run.label for run in runs], "local": map(str, counts)})
        return make_page(STUDIES[name], evidence, "fine", tables={"runs": frame}, data=frame)

    return Study(name, f"Page {name}", lambda plan: plan.expand(list(runs)), page)


def train_in_this_process(
    runs: list[RunConfig], store: Store, root: Path | None, jobs: int, on_event: Any, *_: object
) -> list[Event[RunConfig]]:
    """Stands in for `train_all`: starting workers takes seconds."""
    task = partial(runner.train_and_store, folder=store.folder, data_root=root)
    with ThreadPoolExecutor(1) as executor:
        return run_all(runs, task, executor, on_event)


@pytest.fixture
def tiny(monkeypatch, no_committed_records) -> Iterator[None]:
    """Pages one and two, which share a run, on the embedded digits."""
    shared = replace(RUN, init="he")
    longer = replace(RUN, protocol=replace(RUN.protocol, steps=6))
    studies = dict(STUDIES)
    STUDIES.clear()
    STUDIES.update(one=make_study("one", RUN, shared), two=make_study("two", shared, longer))
    monkeypatch.setattr(loading, "load_or_embedded", lambda name, root: embedded_digits())
    monkeypatch.setattr(runner, "train_all", train_in_this_process)
    handler = signal.getsignal(signal.SIGTERM)
    LOCAL.clear()
    yield
    signal.signal(signal.SIGTERM, handler)
    STUDIES.clear()
    STUDIES.update(studies)


@pytest.fixture
def untrained(tiny, monkeypatch) -> None:
    """As `tiny`, but nothing is trained."""
    monkeypatch.setattr(runner, "train_all", lambda *_: [])


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main(["reproduce", "--device", "cpu", *arguments])
    assert isinstance(end.value.code, int)
    return end.value.code


def test_it_trains_what_is_missing_and_writes_the_pages(tiny, tmp_path: Path) -> None:
    out, store = str(tmp_path), Store(tmp_path / "runs")
    assert call("one", "--out", out, "--jobs", "1") == 0
    assert len(list(store.records())) == 2
    assert {r.run.dataset for r in store.records()} == {"mnist-5k"}
    assert [(name, sorted(counts)) for name, counts in LOCAL] == [("one", [0, 1]), ("one", [1, 1])]
    assert "MNIST-5k" in (tmp_path / "one.md").read_text()
    assert pd.read_csv(tmp_path / "one.csv")["local"].tolist() == [1, 1]
    assert (tmp_path / "README.md").exists()
    assert not (tmp_path / "two.md").exists()

    before = {path: path.stat().st_mtime_ns for path in store.folder.iterdir()}
    assert call("--out", out, "--seeds", "2") == 0
    assert len(list(store.records())) == 6
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert pd.read_csv(tmp_path / "two.csv")["local"].tolist() == [2, 2]


def test_records_are_read_once(tiny, tmp_path: Path, monkeypatch) -> None:
    reads: list[Path] = []
    records = Store.records

    def counted(store: Store) -> Iterator[Record]:
        reads.append(store.folder)
        return records(store)

    monkeypatch.setattr(Store, "records", counted)
    assert call("--out", str(tmp_path)) == 0
    assert sorted(path.name for path in reads) == ["records", "runs"]


def test_each_page_is_made_once(untrained, tmp_path: Path) -> None:
    assert call("--out", str(tmp_path)) == 0
    assert LOCAL == [("one", [0, 0]), ("two", [0, 0])]


def test_a_page_that_is_withheld_stays_as_it_is(untrained, tmp_path: Path, capsys) -> None:
    STUDIES["one"] = replace(STUDIES["one"], withheld=lambda evidence: "not from these")
    (tmp_path / "one.md").write_text("as it was\n")
    assert call("one", "--out", str(tmp_path)) == 0
    assert "not from these" in capsys.readouterr().out
    assert (tmp_path / "one.md").read_text() == "as it was\n"


def test_the_workload_is_each_run_once_cheap_ones_first() -> None:
    longer = RUN.with_steps(400)
    facts = {"seconds_set_up": 1.0, "seconds_training": 2.0, "peak_memory_mb": 500}
    record = Record(longer.with_steps(40), {}, facts)
    cases = {"a": [longer, RUN], "b": [RUN], "c": []}
    workload = plan_workload(cases, [], [record])
    assert list(workload.costs) == [longer, RUN]
    assert list(workload.pending) == [RUN, longer]
    assert workload.costs[longer].training == 20.0
    recorded = Record(longer, {}, facts)
    assert list(plan_workload(cases, [recorded]).pending) == [RUN]
    assert len(plan_workload(cases, [recorded], retrain=True).pending) == 2
    assert plan_workload({"c": []}, []).pending_costs == []


def test_pages_that_train_nothing_in_a_profile_still_plan(tmp_path: Path, capsys) -> None:
    assert call("tutorials", "claims", "--plan", "--out", str(tmp_path)) == 0
    assert "--profile full" in capsys.readouterr().out


def test_force_trains_again(tiny, tmp_path: Path) -> None:
    assert call("one", "--out", str(tmp_path)) == 0
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").glob("*.json")}
    LOCAL.clear()
    assert call("one", "--out", str(tmp_path), "--force") == 0
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").glob("*.json")}
    assert before.keys() == after.keys()
    assert all(after[p] > before[p] for p in before)
    assert sorted(LOCAL[0][1]) == [0, 1]  # the deleted records do not count any more


def test_force_interrupted_continues_with_what_is_left(
    tiny, tmp_path: Path, capsys, monkeypatch
) -> None:
    """What was trained again stays, and the rest is trained."""
    store = Store(tmp_path / "runs")
    assert call("--out", str(tmp_path), "--jobs", "1") == 0
    before = {r.run: r.result for r in store.records()}
    checkpoint = store.checkpoint(next(iter(before)))
    checkpoint.write_bytes(b"of an earlier training")

    def train_one_and_interrupt(runs, *rest):
        assert not checkpoint.exists()
        assert not list(store.records())
        train_in_this_process(runs[:1], *rest)
        raise KeyboardInterrupt

    arguments = ["--out", str(tmp_path), "--jobs", "1", "--force"]
    monkeypatch.setattr("sys.argv", ["subspace-bench", "reproduce", *arguments])
    monkeypatch.setattr(runner, "train_all", train_one_and_interrupt)
    capsys.readouterr()
    assert call(*arguments) == 130
    message = capsys.readouterr().err.strip()
    assert "1 of 3 records and 0 checkpoints" in message
    arguments = message.split("subspace-bench reproduce ")[1].split()
    assert arguments == ["--out", str(tmp_path), "--jobs", "1"]
    [kept] = store.folder.glob("*.json")
    first = kept.stat().st_mtime_ns
    monkeypatch.setattr(runner, "train_all", train_in_this_process)
    assert call(*arguments) == 0
    assert kept.stat().st_mtime_ns == first
    assert {r.run: r.result for r in store.records()} == before


def test_interrupted_before_anything_was_deleted_force_stays(
    tiny, tmp_path: Path, capsys, monkeypatch
) -> None:
    assert call("one", "--out", str(tmp_path)) == 0
    monkeypatch.setattr(loading, "load_or_embedded", interrupt)
    monkeypatch.setattr("sys.argv", ["subspace-bench", "reproduce", "one", "--force"])
    assert call("one", "--out", str(tmp_path), "--force") == 130
    assert capsys.readouterr().err.strip().endswith(": subspace-bench reproduce one --force")
    assert len(list(Store(tmp_path / "runs").records())) == 2


def test_an_interruption_names_what_is_kept_and_the_command_to_continue(
    tiny, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr(runner, "train_all", interrupt)
    monkeypatch.setattr("sys.argv", ["subspace-bench", "reproduce", "one"])
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "of-another-run.checkpoint").write_bytes(b"")
    assert call("one", "--out", str(tmp_path)) == 130
    message = capsys.readouterr().err.strip()
    assert message.count("\n") == 0
    assert "0 of 2 records and 0 checkpoints" in message
    assert message.endswith(": subspace-bench reproduce one")
    monkeypatch.setenv("NOX_CURRENT_SESSION", "reproduce")
    assert this_command() == "nox -s reproduce -- one"


def test_failures_are_reported_and_all_pages_are_written(
    tiny, tmp_path: Path, capsys, monkeypatch
) -> None:
    bad = replace(RUN, model="conv", dim=10**7, projector="gaussian")
    monkeypatch.setattr("subspace_bench.training.cost.estimate", lambda run: Cost(1, 1, 1e6, 1e3))
    STUDIES["two"] = make_study("two", bad, RUN)  # the fixture restores it
    assert call("--out", str(tmp_path), "--jobs", "1") == 1
    [line] = [line for line in capsys.readouterr().err.splitlines() if line]
    assert "conv d=10,000,000 seed 0" in line
    assert pd.read_csv(tmp_path / "two.csv")["local"].tolist() == [0, 1]
    assert (tmp_path / "one.md").exists()


def test_a_record_of_another_schema_is_named_before_anything_is_trained(
    tiny, tmp_path: Path, capsys
) -> None:
    old = tmp_path / "runs" / "old.json"
    old.parent.mkdir()
    old.write_text('{"schema": 0}')
    assert call("one", "--out", str(tmp_path)) == 2
    assert str(old) in capsys.readouterr().err
    assert list(old.parent.iterdir()) == [old]
