"""Cores, memory and caches, as the system's files state them."""

from __future__ import annotations

import pytest

from subspace_bench.common import hardware


def test_last_level_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(hardware, "CACHES", tmp_path)
    assert hardware.last_level_cache() == 0
    for index, size in enumerate(("48K", "2M", "?")):
        (tmp_path / f"index{index}").mkdir()
        (tmp_path / f"index{index}" / "size").write_text(size + "\n")
    assert hardware.last_level_cache() == 2 << 20


def test_container_limits_apply(tmp_path, monkeypatch) -> None:
    free, cores = hardware.available_memory(), hardware.core_count()
    (tmp_path / "memory.max").write_text("5000")
    (tmp_path / "memory.current").write_text("3000")
    (tmp_path / "memory.stat").write_text("anon 2000\ninactive_file 500\n")
    (tmp_path / "cpu.max").write_text("50000 100000")
    monkeypatch.setattr(hardware, "_cgroups", lambda: [tmp_path])
    assert hardware.available_memory() == 2500
    assert hardware.core_count() == 1
    (tmp_path / "memory.max").write_text("max")
    (tmp_path / "cpu.max").write_text("max 100000")
    assert hardware.available_memory() == pytest.approx(free, rel=0.2)
    assert hardware.core_count() == cores
