"""Programs that use Triton, in a process of their own: interpreted, or compiled for no device."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(program: str, interpret: str, cache: Path) -> None:
    """Runs Python source; `interpret` is what TRITON_INTERPRET is set to. Skips without Triton."""
    pytest.importorskip("triton")
    settings = {"TRITON_INTERPRET": interpret, "TRITON_CACHE_DIR": str(cache)}
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, **settings})
