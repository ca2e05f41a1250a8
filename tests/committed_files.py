"""Files of this repository as committed (or staged): a user's own `reproduce` rewrites results/."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def committed(path: str) -> bytes:
    """The file in git's index; the one on disk where there is no git."""
    command = ["git", "-C", str(ROOT), "show", f":{path}"]
    shown = subprocess.run(command, capture_output=True, check=False)
    return shown.stdout if shown.returncode == 0 else (ROOT / path).read_bytes()
