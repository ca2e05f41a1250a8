"""Cores, memory and caches, as the system's files state them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from subspace_bench.common import hardware


def test_last_level_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(hardware, "CACHES", tmp_path)
    assert hardware.last_level_cache() == 0
    for index, size in enumerate(("48K", "2M", "?")):
        (tmp_path / f"index{index}").mkdir()
        (tmp_path / f"index{index}" / "size").write_text(size + "\n")
    assert hardware.last_level_cache() == 2 << 20


ROOT = Path(__file__).parents[2]
GB = 10**9
V1_MEMORY = {
    "memory.limit_in_bytes": "{limit}",
    "memory.usage_in_bytes": "{used}",
    "memory.stat": "cache 900\ninactive_file 0\ntotal_inactive_file {cached}",
}
V2_MEMORY = {
    "memory.max": "{limit}",
    "memory.current": "{used}",
    "memory.stat": "anon 2000\ninactive_file {cached}",
}
V1_CPU = {"cpu.cfs_quota_us": "{quota}", "cpu.cfs_period_us": "100000"}
V1_NO_LIMIT = 9223372036854771712


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Writes files below a stand-in for /sys/fs/cgroup, and this process's membership."""
    monkeypatch.setattr(hardware, "CGROUPS", tmp_path)
    monkeypatch.setattr(hardware, "OWN_CGROUPS", tmp_path / "own")

    def write(own: str, folder: str, files: dict[str, str], **values: object) -> None:
        (tmp_path / "own").write_text(own)
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (tmp_path / folder / name).write_text(text.format(**values) + "\n")
        hardware._cgroups.cache_clear()

    yield write
    hardware._cgroups.cache_clear()


@pytest.mark.parametrize(
    ("own", "limited", "files", "none"),
    [
        ("0::/\n", "", V2_MEMORY, "max"),
        ("0::/a/b\n", "a/b", V2_MEMORY, "max"),
        ("0::/a/b\n", "a", V2_MEMORY, "max"),
        ("0::/../..\n", "", V2_MEMORY, "max"),
        ("0::/of/the/host\n", "", V2_MEMORY, "max"),
        ("4:memory:/\n1:cpu,cpuacct:/x\n0::/\n", "memory", V1_MEMORY, V1_NO_LIMIT),
        ("4:memory:/a/b\n0::/\n", "memory/a/b", V1_MEMORY, V1_NO_LIMIT),
        ("4:memory:/a/b\n0::/\n", "memory/a", V1_MEMORY, V1_NO_LIMIT),
        ("4:memory:/docker/123\n", "memory", V1_MEMORY, V1_NO_LIMIT),
    ],
)
def test_memory_limits_of_containers_apply(groups, own, limited, files, none) -> None:
    values = {"used": 3000, "cached": 500}
    groups(own, limited, files, limit=5000, **values)
    assert hardware.available_memory() == 2500
    groups(own, limited, files, limit=2000, **values)
    assert hardware.available_memory() == 0  # more is used than allowed, as after a change
    groups(own, limited, files, limit=none, **values)
    assert hardware.available_memory() > GB / 10


@pytest.mark.parametrize(
    ("own", "folder", "files"),
    [
        ("0::/a\n", "", {"cpu.max": "{quota} 100000"}),
        (
            "2:cpu,cpuacct:/a\n",
            "cpu",
            {"cpu.cfs_quota_us": "{quota}", "cpu.cfs_period_us": "100000"},
        ),
    ],
)
def test_core_quotas_of_containers_apply(groups, own, folder, files) -> None:
    cores = hardware.core_count()
    groups(own, folder, files, quota=50_000)
    assert hardware.core_count() == 1
    groups(own, folder, files, quota=-1 if "cpu.cfs_quota_us" in files else "max")
    assert hardware.core_count() >= cores


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_an_address_space_limit_applies() -> None:
    program = (
        "from subspace_bench.common.hardware import available_memory\n"
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (10**9, 10**9))\n"
        "assert 5e8 < available_memory() < 1e9, available_memory()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_no_module_needs_posix_to_be_imported() -> None:
    posix = {"fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"}
    for path in (ROOT / "subspace_bench").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:  # the top level only
            if isinstance(node, ast.Import):
                assert not posix & {alias.name for alias in node.names}, path
            elif isinstance(node, ast.ImportFrom):
                assert node.level or node.module not in posix, path
