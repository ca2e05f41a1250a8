"""Files written whole, also by several processes, and what is not a file."""

from __future__ import annotations

import errno
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from subspace_bench.common import files
from subspace_bench.common.errors import UserError
from subspace_bench.common.files import write_atomically
from subspace_bench.common.locks import Locked, exclusive, is_locked

CONTEXT = multiprocessing.get_context("spawn")


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


def write_many(path: Path, letter: str, count: int) -> None:
    for _ in range(count):
        write_atomically(path, letter * 5_000)


def test_processes_that_write_one_file_leave_it_whole(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "record.json"
    monkeypatch.setattr(os, "fsync", lambda _: None)
    writers = [CONTEXT.Process(target=write_many, args=(path, letter, 60)) for letter in "ab"]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            assert path.read_text() in ("a" * 5_000, "b" * 5_000)
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert list(tmp_path.iterdir()) == [path]


def test_part_files_do_not_depend_on_the_process_id(tmp_path: Path, monkeypatch) -> None:
    names = []

    def record(source: Path, target: Path) -> Path:
        names.append(source.name)
        return target

    monkeypatch.setattr(os, "getpid", lambda: 7)  # as in two containers
    monkeypatch.setattr(Path, "replace", record)
    for _ in range(2):
        write_atomically(tmp_path / "record.json", "content")
    assert len(set(names)) == 2


def test_the_part_of_a_killed_writer_is_deleted_and_of_a_living_one_is_not(tmp_path: Path) -> None:
    killed, living = tmp_path / f".{'0' * 16}.part", tmp_path / f".{'1' * 16}.part"
    foreign = tmp_path / "download.part"
    for part in (killed, living, foreign):
        part.touch()
    with living.open("rb") as file:
        assert files._lock(file)
        write_atomically(tmp_path / "a.json", "content")
        assert {p.name for p in tmp_path.iterdir()} == {"a.json", living.name, foreign.name}


def test_a_pipe_in_the_place_of_a_part_or_a_lock_does_not_hang(tmp_path: Path) -> None:
    part, lock = tmp_path / f".{'0' * 16}.part", tmp_path / ".a.json.lock"
    for path in (part, lock):
        os.mkfifo(path)
    write_atomically(tmp_path / "a.json", "content")
    assert (tmp_path / "a.json").read_text() == "content"
    assert not is_locked(tmp_path / "a.json")


def test_a_name_as_long_as_the_system_allows_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write_atomically(path, "content")
    assert path.read_text() == "content"


def test_text_with_bytes_that_are_no_utf8_can_be_written(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", os.fsdecode(b"caf\xe9"))
    assert (tmp_path / "a").read_text() == r"caf\udce9"


def hold(path: Path, held) -> None:
    with exclusive(path):
        held.set()
        time.sleep(60)


def test_a_lock_excludes_other_processes_and_outlives_no_holder(tmp_path: Path) -> None:
    path, held = tmp_path / "table.csv", CONTEXT.Event()
    holder = CONTEXT.Process(target=hold, args=(path, held))
    holder.start()
    assert held.wait(60)
    with pytest.raises(Locked), exclusive(path, timeout=0):
        pass
    holder.kill()
    holder.join()
    with exclusive(path, timeout=10):
        pass
    assert list(tmp_path.iterdir()) == []


def count_up(path: Path, times: int) -> None:
    for _ in range(times):
        with exclusive(path):
            path.write_text(str(int(path.read_text()) + 1))


def test_a_lock_whose_file_is_deleted_still_excludes(tmp_path: Path) -> None:
    path = tmp_path / "count"
    path.write_text("0")
    workers = [CONTEXT.Process(target=count_up, args=(path, 100)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert path.read_text() == "300"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_without_locks_is_used_without_them(tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with exclusive(tmp_path / "a"):
        pass
    write_atomically(tmp_path / "a", "content")
    assert (tmp_path / "a").read_text() == "content"
