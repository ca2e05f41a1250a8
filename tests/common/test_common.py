"""Formatting, validation, atomic writes and hardware facts."""

from __future__ import annotations

import errno
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from subspace_bench.common import hardware, rng, validation
from subspace_bench.common.errors import Unwritable, UserError, describe_os_error
from subspace_bench.common.files import digest, write_atomically
from subspace_bench.common.formatting import format_bytes, format_duration, format_significant


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (99.4, "99 s"), (99.6, "2 min"), (5_940, "99 min"), (6_000, "1 h 40 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_bytes_and_digits() -> None:
    assert [format_bytes(n) for n in (0, 1, 12_400, 340e6, 2.1e9)] == [
        "0", "1 kB", "12 kB", "340 MB", "2.1 GB",
    ]  # fmt: skip
    assert [format_significant(x) for x in (0.01234, 12.34, 1234.5)] == ["0.0123", "12.3", "1,234"]


def test_numbers_out_of_range_are_refused() -> None:
    validation.require_at_least(2, seeds=2, jobs=None)
    validation.require_positive(minutes=0.1, bytes=None)
    validation.require_fraction(alpha=0.5)
    for bad in (1, math.nan):
        with pytest.raises(UserError, match="--seeds"):
            validation.require_at_least(2, seeds=bad)
    for bad in (0, -1, math.inf, math.nan):
        with pytest.raises(UserError, match="--minutes"):
            validation.require_positive(minutes=bad)
    for bad in (0, 1, math.nan):
        with pytest.raises(UserError, match="--alpha"):
            validation.require_fraction(alpha=bad)


def test_devices() -> None:
    assert validation.resolve_device("cpu") == "cpu"
    assert validation.resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(UserError, match="tpu"):
        validation.resolve_device("tpu")


def test_output_folders(tmp_path: Path) -> None:
    validation.check_output_dir(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()
    with pytest.raises(UserError, match="free"):
        validation.check_output_dir(tmp_path, needed=1e18)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="--data"):
        validation.check_output_dir(tmp_path / "file" / "folder", option="--data")
    with pytest.raises(Unwritable):
        validation.check_writable(tmp_path / "file")
    validation.check_writable(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a" / "b"
    write_atomically(path, "old")

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Unwritable, match="No space left"):
        write_atomically(path, b"new")
    assert [p.read_text() for p in path.parent.iterdir()] == ["old"]
    assert "--out" in describe_os_error(OSError(errno.ENOSPC, "No space left", "x"))


def test_digest_is_of_canonical_json() -> None:
    assert digest({"b": 1, "a": [1.0, None]}) == digest({"a": [1.0, None], "b": 1})
    assert digest([1]) != digest([1.0])


def test_streams_are_functions_of_seed_name_and_index() -> None:
    keys = [(0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1)]
    draws = [rng.generator(*k).integers(1 << 60) for k in keys]
    assert len(set(draws)) == 4
    assert draws == [rng.generator(*k).integers(1 << 60) for k in keys]
    assert rng.key(0, "a") == rng.key(0, "a") != rng.key(0, "b")
    rng.seed_torch(0, "dropout", 3)
    first = torch.rand(3)
    rng.seed_torch(0, "dropout", 3)
    assert torch.equal(first, torch.rand(3))


def test_memory_of_this_process() -> None:
    before = hardware.resident_memory()
    block = np.ones(1 << 24)  # 128 MB
    assert hardware.resident_memory() - before > 0.9 * block.nbytes
    assert hardware.peak_memory() >= 0.9 * hardware.resident_memory()
    assert 0 < hardware.available_memory() < 1e15


def test_common_imports_no_heavy_package() -> None:
    code = (
        "import sys; from subspace_bench.common import errors, files, formatting, hardware, "
        "validation; sys.exit(any(m in sys.modules for m in ('torch', 'pandas', 'rich', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
