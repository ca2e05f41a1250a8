"""Runs, records and the store: stable names and complete files."""

from __future__ import annotations

from dataclasses import replace

import pytest
from stored_record import FACTS, RESULT, RUN

from subspace_bench.records.store import Record, Store


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
    assert record.accuracy_at(12) == 91.25
    assert record.accuracy_at(2) is None
    assert store.get(replace(RUN, seed=1)) is None
    assert [r.run for r in store.records()] == [RUN]


def test_a_record_is_readable_with_a_row_of_the_curve_a_line(store: Store) -> None:
    lines = store.path(RUN).read_text().splitlines()
    assert "      [1, 10.0, 2.3]," in lines
    assert "      [12, 91.25, 0.4]" in lines
    assert '    "model": "conv",' in lines


def test_the_same_record_is_the_same_bytes(store: Store) -> None:
    before = store.path(RUN).read_bytes()
    store.put(Record(RUN, dict(reversed(RESULT.items())), FACTS))
    store.put(Record(RUN, RESULT, FACTS))
    assert store.path(RUN).read_bytes() == before


def test_a_diverged_record_round_trips(store: Store) -> None:
    result = {**RESULT, "diverged": 12, "accuracy_end": None, "curve": [[1, 10.0, 2.3]]}
    store.put(Record(RUN, result, FACTS))
    record = store.get(RUN)
    assert record is not None
    assert record.result == result


def test_records_deleted_while_reading_are_left_out(store: Store) -> None:
    other = replace(RUN, seed=1)
    store.put(Record(other, RESULT, FACTS))
    reading = store.records()
    first = next(reading)
    for run in (RUN, other):
        store.discard(run)
    assert first.run in (RUN, other)
    assert list(reading) == []
