"""Damaged, edited and foreign files in place of a record: each is detected and named."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
from pathlib import Path

import pytest
from stored_record import RESULT, RUN

from subspace_bench.common.errors import UserError
from subspace_bench.common.files import digest
from subspace_bench.records.store import SCHEMA, Store, read_record


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
        (lambda c: c["run"]["protocol"].update(lr="fast"), "lr is 'fast'"),
        (lambda c: c["run"]["protocol"].update(schedule="slow"), "unknown schedule 'slow'"),
        (lambda c: c["run"].update(origin="here"), "unknown origin 'here'"),
        (lambda c: c["run"].update(seed=-1), "seed"),
        (lambda c: c["run"].update(seed="one"), "not a valid record"),
        (lambda c: c.pop("result"), r"lacks 'result'\): move it away"),
        (lambda c: c.pop("provenance"), "lacks 'provenance'"),
        (lambda c: c["provenance"].pop("seconds_set_up"), "lacks 'seconds_set_up'"),
        (lambda c: c["provenance"].update(seconds_training="fast"), "seconds_training is 'fast'"),
        (lambda c: c["provenance"].update(seconds_training=float("nan")), "NaN is not a number"),
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


def forged(store: Store, change) -> Path:
    """The record's file after a change of its content, with digest and name made to fit."""
    content = json.loads(store.path(RUN).read_text())
    change(content)
    content["result_sha256"] = digest(content["result"])
    store.path(RUN).write_text(json.dumps(content))
    return store.path(RUN)


NONSENSE = {
    "no curve": lambda r: r.pop("curve"),
    "an empty curve": lambda r: r.update(curve=[]),
    "a curve of text": lambda r: r["curve"][0].__setitem__(1, "ten"),
    "a curve without losses": lambda r: r["curve"][0].pop(),
    "a score too many": lambda r: r["curve"].insert(1, [7, 50.0, 1.0]),
    "a repeated score": lambda r: r["curve"].insert(1, [1, 10.0, 2.3]),
    "150%": lambda r: [r["curve"][1].__setitem__(1, 150.0), r.update(accuracy_end=150.0)],
    "1e308%": lambda r: r["curve"][0].__setitem__(1, 1e308),
    "a negative loss": lambda r: r["curve"][0].__setitem__(2, -1.0),
    "a loss of NaN": lambda r: r["curve"][0].__setitem__(2, float("nan")),
    "an infinite loss": lambda r: r["curve"][0].__setitem__(2, float("inf")),
    "updates of 12.0": lambda r: r["curve"][1].__setitem__(0, 12.0),
    "true updates": lambda r: r["curve"][0].__setitem__(0, True),
    "huge updates": lambda r: r["curve"][1].__setitem__(0, 10**4000),
    "another accuracy": lambda r: r.update(accuracy=99.0),
    "another last accuracy": lambda r: r.update(accuracy_end=None),
    "accuracy of text": lambda r: r.update(accuracy="10.0"),
    "no parameters": lambda r: r.update(native_dimension=0, free_parameters=0),
    "another d": lambda r: r.update(free_parameters=7),
    "a short hash": lambda r: r.update(sha256="0"),
    "diverged beyond the end": lambda r: r.update(diverged=13),
    "diverged but scored": lambda r: r.update(diverged=12),
    "an unknown entry": lambda r: r.update(acuracy=10.0),
    "deep nesting": lambda r: r.update(curve=nested(900)),
}


def nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_whose_digest_fits_is_an_error(store: Store, name: str) -> None:
    path = forged(store, lambda c: NONSENSE[name](c["result"]))
    for read in (lambda: store.get(RUN), lambda: list(store.records())):
        with pytest.raises(UserError) as failure:
            read()
        assert str(path) in str(failure.value)
        assert len(str(failure.value)) < 500


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"schema": 1, ' + '"a": {' * 100_000,
        '{"schema": ' + "9" * 5_000 + "}",
        '{"schema": 1, "schema": 1}',
        b"\xff\xfe{",
        b"\x00" * 100,
    ],
    ids=["deep list", "deep table", "huge number", "repeated key", "encoding", "zeros"],
)
def test_text_that_breaks_parsers_is_an_error(store: Store, text: str | bytes) -> None:
    path = store.path(RUN)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as failure:
        list(store.records())
    assert str(path) in str(failure.value)


def test_a_repeated_key_is_an_error(store: Store) -> None:
    path = store.path(RUN)
    path.write_text(path.read_text().replace('"run": {', '"run": {"seed": 5,', 1))
    with pytest.raises(UserError, match="twice"):
        store.get(RUN)


def test_damage_of_any_byte_is_found_or_changes_no_result(store: Store) -> None:
    path, draw = store.path(RUN), random.Random(0)
    text = path.read_bytes()
    errors = []
    for _ in range(400):
        damaged = bytearray(text)
        damaged[draw.randrange(len(text))] = draw.randrange(256)
        path.write_bytes(damaged)
        record = None
        try:
            record = store.get(RUN)
        except UserError as failure:
            errors.append(str(failure))
        if record is not None:
            assert (record.run, record.result) == (RUN, RESULT)
    assert len(errors) > 200
    assert all(str(path) in error for error in errors)


VALUES = (None, True, 0, -1, 10**400, 1.5, 1e308, -1e-320, float("nan"), "", "text", [], {}, [[1]])


def places(content, path=()) -> list[tuple[str | int, ...]]:
    """The path of every entry of nested lists and tables."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    return [
        deeper
        for key, value in pairs
        for deeper in (
            (*path, key),
            *(places(value, (*path, key)) if isinstance(value, dict | list) else ()),
        )
    ]


def test_any_value_anywhere_is_an_error_or_fits(store: Store) -> None:
    path = store.path(RUN)
    text = path.read_text()
    for place in places(json.loads(text)):
        for value in VALUES:
            content = json.loads(text)
            inner = content
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = value
            if place[0] != "result_sha256":
                content["result_sha256"] = digest(content["result"])
            path.write_text(json.dumps(content))
            with contextlib.suppress(UserError):
                record = store.get(RUN)
                assert record is not None
                assert record.run == RUN
                assert all(0 <= accuracy <= 100 for _, accuracy, _ in record.result["curve"])


@pytest.mark.parametrize("kind", ["folder", "pipe", "dangling link", "link to itself"])
def test_what_is_no_file_is_an_error_and_does_not_hang(store: Store, kind: str) -> None:
    path = store.folder / "foreign.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere" if kind == "dangling link" else path.name)
    if kind == "dangling link":
        assert [record.run for record in store.records()] == [RUN]
        return
    with pytest.raises(UserError, match=r"foreign\.json"):
        list(store.records())


def test_an_unreadable_folder_is_not_an_empty_one(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file"):
        list(Store(tmp_path / "file").records())

    def refuse(path: Path) -> list[str]:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(UserError, match="Permission denied"):
        list(Store(tmp_path).records())
    monkeypatch.undo()
    assert list(Store(tmp_path / "absent").records()) == []


def test_provenance_may_be_edited(store: Store) -> None:
    edited(store, lambda c: c["provenance"].update(note="moved from another disk"))
    assert store.get(RUN) is not None
