"""Triton kernels have the results of the CPU, and compile; without a device.

Triton decides at import whether it interprets, so each mode is one process for all kernels.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache

import pytest
import triton_programs

pytest.importorskip("triton")


@cache
def outcomes(mode: str, cache_dir: str) -> dict[str, str]:
    settings = {"TRITON_INTERPRET": str(int(mode == "interpret")), "TRITON_CACHE_DIR": cache_dir}
    command = [sys.executable, triton_programs.__file__, mode]
    run = subprocess.run(
        command, check=True, env={**os.environ, **settings}, stdout=subprocess.PIPE
    )
    return json.loads(run.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", triton_programs.KERNELS)
@pytest.mark.parametrize("mode", ["interpret", "compile"])
def test_kernel(mode, kernel, tmp_path_factory) -> None:
    cache_dir = tmp_path_factory.getbasetemp() / f"triton-{mode}"
    assert not outcomes(mode, str(cache_dir))[kernel]
