"""Kernels are compiled again where their cache is stale, damaged or cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import subspace_bench.kernels.cpu

PROGRAM = """
import numpy as np
from copied.permutations import signs128
signs = np.empty(128, np.float32)
signs128(np.array([1, 2], np.uint64), 0, 0, signs, 0)
print(signs.tolist())
"""


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of one kernel and what it needs, in a package `copied`."""
    kernels, copied = Path(subspace_bench.kernels.cpu.__path__[0]), tmp_path / "copied"
    copied.mkdir()
    for name in ("kernel_cache.py", "simd.py", "philox.py", "permutations.py"):
        (copied / name).write_text((kernels / name).read_text())
    return copied


def signs(copied: Path, *limits: str, **variables: str) -> list[float]:
    """What the copied kernel returns in a process of its own."""
    path = os.pathsep.join([str(copied.parent), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **variables}
    run = subprocess.run(
        [*limits, sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert not run.stderr
    return [float(number) for number in run.stdout.strip("[]\n").split(",")]


@pytest.mark.slow
def test_a_change_of_what_a_kernel_calls_reaches_it(copied: Path) -> None:
    before = signs(copied)
    assert list((copied / "__pycache__").glob("*signs128*.nbc"))
    simd = (copied / "simd.py").read_text()
    store = "self.builder.store(vector, pointer"
    assert store in simd
    (copied / "simd.py").write_text(
        simd.replace(store, "self.builder.store(self.builder.fneg(vector), pointer")
    )
    assert signs(copied) == [-sign for sign in before]


@pytest.mark.slow
def test_damaged_files_are_made_again(copied: Path) -> None:
    before = signs(copied)
    [code] = (copied / "__pycache__").glob("*signs128*.nbc")
    [index] = (copied / "__pycache__").glob("*signs128*.nbi")
    whole = code.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for path, content in ((code, b""), (code, flipped), (index, index.read_bytes()[:30])):
        path.write_bytes(content)
        assert signs(copied) == before
        assert path.read_bytes() != content
    stamps = [path.stat().st_mtime_ns for path in (code, index)]
    assert signs(copied) == before
    assert stamps == [path.stat().st_mtime_ns for path in (code, index)]  # read, not made again


@pytest.mark.slow
def test_a_full_disk_costs_the_cache_only(copied: Path) -> None:
    signs(copied, "bash", "-c", 'ulimit -f 0; trap "" XFSZ; exec "$@"', "bash")
    assert not list((copied / "__pycache__").glob("*.nbc"))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="folders of a user by mode")
def test_without_a_home_the_cache_is_in_a_folder_of_the_user(copied: Path, tmp_path: Path) -> None:
    (copied / "__pycache__").write_text("a file, so that not even root can write here")
    nowhere = dict.fromkeys(("HOME", "XDG_CACHE_HOME"), "/proc/nosuch")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    before = signs(copied, **nowhere, TMPDIR=str(temporary))
    [home] = temporary.iterdir()
    assert home.stat().st_mode & 0o777 == 0o700
    [code] = home.rglob("*signs128*.nbc")
    # A folder that others can write may hold their code.
    code.unlink()
    home.chmod(0o777)
    assert signs(copied, **nowhere, TMPDIR=str(temporary)) == before
    assert not list(home.rglob("*signs128*.nbc"))


@pytest.mark.slow
def test_kernels_are_compiled_although_numba_is_disabled() -> None:
    program = (
        "import numba, torch\n"
        "from subspace_bench import projectors\n"
        "total = sum(float(projectors.make(name, 100, 10, seed=0)(torch.ones(10)).abs().sum())\n"
        "            for name in projectors.names())\n"
        "print(total)\n"
        "assert numba.config.DISABLE_JIT == %s\n"
    )
    printed = [
        subprocess.run(
            [sys.executable, "-c", program % disabled],
            env=os.environ | {"NUMBA_DISABLE_JIT": disabled},
            check=True,
            capture_output=True,
        )
        for disabled in ("0", "1")
    ]
    assert printed[0].stdout == printed[1].stdout != b""
