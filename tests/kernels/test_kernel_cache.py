"""Kernels are compiled again when a function that they call from another file has changed."""

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


@pytest.mark.slow
def test_a_change_of_what_a_kernel_calls_reaches_it(tmp_path) -> None:
    kernels, copied = Path(subspace_bench.kernels.cpu.__path__[0]), tmp_path / "copied"
    copied.mkdir()
    for name in ("simd.py", "philox.py", "permutations.py"):
        (copied / name).write_text((kernels / name).read_text())

    def signs() -> list[float]:
        env = {**os.environ, "PYTHONPATH": str(tmp_path)}
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=env, check=True, capture_output=True, text=True
        )
        return [float(number) for number in run.stdout.strip("[]\n").split(",")]

    before = signs()
    assert list((copied / "__pycache__").glob("*signs128*.nbc"))
    simd = (copied / "simd.py").read_text()
    store = "self.builder.store(vector, pointer"
    assert store in simd
    (copied / "simd.py").write_text(
        simd.replace(store, "self.builder.store(self.builder.fneg(vector), pointer")
    )
    assert signs() == [-sign for sign in before]
