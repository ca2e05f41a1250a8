"""`watch`: what it shows of runs in a folder."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from stored_record import RUN, make_store

from subspace_bench.cli.watch import DAMAGED, DONE, INTERRUPTED, RUNNING, Folder
from subspace_bench.common.locks import is_locked
from subspace_bench.common.validation import resolve_device
from subspace_bench.datasets.embedded import embedded_digits
from subspace_bench.experiments import STUDIES, Plan
from subspace_bench.records.config import RunConfig, TrainingConfig
from subspace_bench.records.store import Store
from subspace_bench.training.loop import Interrupted, train

watch = import_module("subspace_bench.cli.watch")  # in the package, this name is the command
TINY = RunConfig("mlp-16", "he", TrainingConfig(steps=4, batch=8, lr=0.01, score_every=1))


def states(folder: Path) -> dict[str, str]:
    return {state.name: state.state for state in Folder(folder).states()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A finished run, a damaged record, and an interrupted run after one update."""
    store = make_store(tmp_path / "runs")
    store.path(replace(RUN, seed=1)).write_text("{")
    with pytest.raises(Interrupted):
        train(TINY, embedded_digits(), store.checkpoint(TINY), should_stop=lambda: True)
    return store


def test_it_tells_runs_by_their_files_and_locks(store: Store) -> None:
    damaged = replace(RUN, seed=1).name
    expected = {RUN.name: DONE, damaged: DAMAGED, TINY.name: INTERRUPTED}
    assert states(store.folder) == expected
    with store.claim(TINY), store.claim(replace(TINY, seed=1)):
        assert states(store.folder) == expected | {
            TINY.name: RUNNING,
            replace(TINY, seed=1).name: RUNNING,
        }
    store.folder.joinpath(f".{replace(TINY, seed=2).name}.json.lock").touch()  # of a killed process
    assert states(store.folder) == expected


def test_it_reads_curves_from_records_and_checkpoints(store: Store) -> None:
    found = {state.name: state for state in Folder(store.folder).states()}
    assert [row[1] for row in found[RUN.name].curve] == [10.0, 91.25]
    assert (found[TINY.name].updates, len(found[TINY.name].curve)) == (1, 1)


def test_files_are_read_once_until_they_change(store: Store, monkeypatch) -> None:
    reads: list[str] = []
    read = watch.read
    monkeypatch.setattr(watch, "read", lambda path: reads.append(path.name) or read(path))
    folder = Folder(store.folder)
    folder.states()
    store.path(replace(RUN, seed=1)).write_text("{}")
    folder.states()
    assert len(reads) == 4


def test_once_prints_the_state_and_exits(call, store: Store) -> None:
    code, out, _ = call("watch", str(store.folder.parent), "--once")
    assert code == 0
    assert "0 run, 1 wait, 1 done" in out
    assert "91.25%" in out
    assert "▁█" in out
    assert str(store.path(replace(RUN, seed=1))) in out


def test_what_waits_follows_from_the_plan_that_the_names_belong_to() -> None:
    plan = Plan("quick", seeds=2, dataset="mnist-5k", device=resolve_device("auto"))
    cases = {run.name for study in STUDIES.values() for run in study.cases(plan)}
    some = set(sorted(cases)[::3]) | {TINY.name}
    assert any("-s1-" in name for name in some)
    assert watch.likely_plan(some).keys() == cases


def test_a_folder_that_is_not_there_is_bad_input(call, tmp_path: Path) -> None:
    assert call("watch", str(tmp_path / "nowhere"))[0] == 2


def test_a_lock_is_looked_at_without_a_change(tmp_path: Path) -> None:
    store = Store(tmp_path)
    lock = tmp_path / f".{TINY.name}.json.lock"
    with store.claim(TINY):
        before = lock.stat().st_mtime_ns
        assert is_locked(store.path(TINY))
        assert lock.stat().st_mtime_ns == before
    assert not is_locked(store.path(TINY))


@pytest.mark.parametrize(
    ("values", "line"), [([], ""), ([0, 100], "▁█"), ([50], "▅"), (range(100), None)]
)
def test_sparklines_have_a_bounded_length(values, line) -> None:
    drawn = watch.sparkline(values)
    assert len(drawn) <= watch.WIDTH
    assert line is None or drawn == line
