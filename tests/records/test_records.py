"""Runs, records and the store: stable names, complete files, detected edits."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from subspace_bench.common.errors import UserError
from subspace_bench.common.files import write_atomically
from subspace_bench.records.config import RunConfig, TrainingConfig
from subspace_bench.records.store import SCHEMA, Record, Store, read_record

RUN = RunConfig(
    "conv", "he", TrainingConfig(steps=12, batch=64, lr=3e-3, betas=(0.9, 0.99)), numerics=1
)
RESULT = {
    "accuracy": 91.25,
    "accuracy_end": 92.0,
    "sha256": "0" * 64,
    "curve": [[1, 10.0, 2.3], [6, 91.25, 0.4]],
}


FACTS = {"seconds_set_up": 0.2, "seconds_training": 1.5, "peak_memory_mb": 900}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """With one record."""
    store = Store(tmp_path / "runs")
    store.put(Record(RUN, RESULT, FACTS))
    return store


def test_hashes_name_committed_records_and_must_not_move() -> None:
    assert RUN.hash.startswith("0213b0b65937")
    assert RUN.name == "conv-dD-s0-0213b0b65937"


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"model": "fc"},
        {"dim": 3, "projector": "gaussian"},
        {"threads": 2},
        {"device": "cuda"},
        {"dtype": "float64"},
        {"dataset": "mnist-5k"},
        {"numerics": 2},
        {"protocol": replace(RUN.protocol, eps=1e-7)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_everything_that_determines_a_run_is_in_its_hash(change) -> None:
    assert replace(RUN, **change).hash != RUN.hash
    assert replace(RUN, **change).name != RUN.name


@pytest.mark.parametrize("lr", [1, 1.0])
def test_equal_protocols_have_equal_hashes(lr: float) -> None:
    protocol = replace(RUN.protocol, lr=lr, momentum=0, betas=[0, 1])  # as JSON gives them
    assert protocol == replace(RUN.protocol, lr=1.0, momentum=0.0, betas=(0.0, 1.0))
    assert replace(RUN, protocol=protocol).hash.startswith("2e15765fac62")


def test_a_record_round_trips(store: Store) -> None:
    record = store.get(RUN)
    assert record is not None
    assert record.run == RUN
    assert record.result == RESULT
    assert record.provenance == FACTS
    assert record.accuracy_at(6) == 91.25
    assert record.accuracy_at(2) is None
    assert store.get(replace(RUN, seed=1)) is None
    assert [r.run for r in store.records()] == [RUN]


def test_a_record_is_readable_with_a_row_of_the_curve_a_line(store: Store) -> None:
    lines = store.path(RUN).read_text().splitlines()
    assert "      [1, 10.0, 2.3]," in lines
    assert "      [6, 91.25, 0.4]" in lines
    assert '    "model": "conv",' in lines


def test_the_same_record_is_the_same_bytes(store: Store) -> None:
    before = store.path(RUN).read_bytes()
    store.put(Record(RUN, dict(reversed(RESULT.items())), FACTS))
    store.put(Record(RUN, RESULT, FACTS))
    assert store.path(RUN).read_bytes() == before


def edited(store: Store, change) -> Path:
    path = store.path(RUN)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["result"].update(accuracy=99.0), "edited"),
        (lambda c: c["result"]["curve"].pop(), "edited"),
        (lambda c: c["run"].update(seed=7), "edited"),
        (lambda c: c.update(schema=SCHEMA + 1), f"schema {SCHEMA + 1}, this version reads"),
        (lambda c: c["run"].update(extra=1), "not a valid record"),
        (lambda c: c["run"].pop("model"), "not a valid record"),
        (lambda c: c["run"]["protocol"].pop("betas"), "edited"),
        (lambda c: c["run"]["protocol"].pop("lr"), "not a valid record"),
        (lambda c: c["run"]["protocol"].update(lr="fast"), "could not convert"),
        (lambda c: c["run"]["protocol"].update(schedule="slow"), "unknown schedule 'slow'"),
        (lambda c: c["run"].update(origin="here"), "unknown origin 'here'"),
        (lambda c: c["run"].update(seed=-1), "seed is -1"),
        (lambda c: c["run"].update(seed="one"), "not a valid record"),
        (lambda c: c.pop("result"), r"lacks 'result'\): move it away"),
        (lambda c: c.pop("provenance"), "lacks 'provenance'"),
        (lambda c: c["provenance"].pop("seconds_set_up"), "lacks 'seconds_set_up'"),
        (lambda c: c["provenance"].update(seconds_training="fast"), "seconds_training is 'fast'"),
        (lambda c: c["provenance"].update(seconds_training=float("nan")), "training is nan"),
        (lambda c: c.pop("schema"), "not a valid record"),
    ],
)
def test_edited_records_and_other_schemas_are_errors(store: Store, change, message) -> None:
    path = edited(store, change)
    with pytest.raises(UserError, match=message) as failure:
        store.get(RUN)
    assert str(path) in str(failure.value)
    assert "\n" not in str(failure.value)
    assert path.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"schema": 1, "run": 3}'])
def test_a_truncated_file_is_an_error(store: Store, text: str) -> None:
    store.path(RUN).write_text(text)
    with pytest.raises(UserError, match="not a valid record"):
        read_record(store.path(RUN))


def test_provenance_may_be_edited(store: Store) -> None:
    edited(store, lambda c: c["provenance"].update(note="moved from another disk"))
    assert store.get(RUN) is not None


def test_a_full_disk_leaves_the_old_file_and_no_part(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "record.json"
    write_atomically(path, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_atomically(tmp_path / "file" / "record.json", "new")
