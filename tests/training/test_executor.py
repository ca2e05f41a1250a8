"""Workers: the same records however many there are, and failures that stop nobody else."""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from subspace_bench.common.errors import Unwritable
from subspace_bench.records.config import RunConfig, TrainingConfig
from subspace_bench.records.store import Store
from subspace_bench.training import executor
from subspace_bench.training.executor import Event, run_all

RUN = RunConfig(
    "mlp-16",
    "default",
    TrainingConfig(steps=8, batch=64, lr=3e-3, score_every=4),
    dataset="mnist-5k",
)
RUNS = [
    RUN,
    replace(RUN, seed=1),
    replace(RUN, dim=20, projector="gaussian"),
    replace(RUN, dim=20, projector="orthonormal", origin="zero"),
]


def quiet(message: Event) -> None: ...


def test_records_do_not_depend_on_jobs_or_order(tmp_path: Path) -> None:
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    assert run_all(RUNS, one, None, 1, quiet) == []
    assert run_all(RUNS[::-1], two, None, 2, quiet) == []
    assert len(list(one.records())) == len(RUNS)
    for a, b in zip(one.records(), two.records(), strict=True):
        assert a.run == b.run
        assert a.result == b.result
    assert not list(one.folder.glob("*.checkpoint"))


def test_a_run_that_fails_is_reported_and_the_others_go_on(tmp_path: Path) -> None:
    messages: list[Event] = []
    bad = replace(RUN, dim=10**6, projector="gaussian")
    failures = run_all([bad, RUN], Store(tmp_path), None, 1, messages.append)
    assert [f.run for f in failures] == [bad]
    assert "12,730" in failures[0].reason
    assert [m.kind for m in messages if m.run == bad] == ["started", "failed"]
    done = [m for m in messages if m.kind == "done"]
    assert [m.run for m in done] == [RUN]
    assert [r.run for r in Store(tmp_path).records()] == [RUN]


def test_a_place_that_takes_no_records_ends_it_all(tmp_path: Path) -> None:
    messages: list[Event] = []
    (tmp_path / "file").write_text("in the way of a folder")
    with pytest.raises(Unwritable, match="cannot write"):
        run_all(RUNS, Store(tmp_path / "file"), None, 1, messages.append)
    assert [m.kind for m in messages if m.kind != "progress"] == ["started"]


def test_a_worker_that_is_killed_is_reported_and_replaced(tmp_path: Path) -> None:
    long = RUN.with_steps(100_000)

    def kill(message: Event) -> None:
        if message.kind == "progress" and message.run == long:
            for child in multiprocessing.active_children():
                assert child.pid is not None
                os.kill(child.pid, signal.SIGKILL)

    failures = run_all([long, RUN], Store(tmp_path), None, 1, kill)
    assert [f.run for f in failures] == [long]
    assert "killed" in failures[0].reason
    assert Store(tmp_path).get(RUN) is not None


def test_the_gpu_s_peak_is_of_one_run(tmp_path: Path, monkeypatch) -> None:
    def reset() -> None:
        raise RuntimeError("asked for")

    monkeypatch.setattr("torch.cuda.reset_peak_memory_stats", reset)
    for device, said in (("cpu", "nothing is 'read'"), ("cuda", "asked for")):
        monkeypatch.setattr(executor, "load", lambda name, root: {}["nothing is 'read'"])
        run = replace(RUN, device=device)
        message = executor.carry_out_one(run, Store(tmp_path), None, None, None)
        assert said in message.reason


def test_an_interruption_leaves_a_checkpoint_of_what_was_in_progress(tmp_path: Path) -> None:
    long = RUN.with_steps(100_000)

    def interrupt(message: Event) -> None:
        if message.kind == "progress":
            raise KeyboardInterrupt

    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_all([long], store, None, 1, interrupt)
    assert store.path(long).with_suffix(".checkpoint").exists()
    assert store.get(long) is None
    assert not multiprocessing.active_children()
