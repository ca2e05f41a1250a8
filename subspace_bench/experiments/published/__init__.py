"""Published numbers and the criteria that judge them, as data with their sources.

None of these numbers is ours, and no code contains a published number.
"""

from __future__ import annotations

import functools
import tomllib
from importlib import resources
from typing import Any


@functools.cache
def load(name: str) -> dict[str, Any]:
    """The content of `published/<name>.toml`: "post", "claims", "start" (the initial σ),
    "li2018" or "gressmann2020".

    The file is read once and shared: do not modify the result. Points that a figure hides are NaN.

    Raises:
        FileNotFoundError: for a name without a file.
    """
    return tomllib.loads((resources.files(__name__) / f"{name}.toml").read_text(encoding="utf-8"))
