"""Numbers that somebody else published, and criteria and protocols, as data with their sources.

No number of anyone else's stands in code, and none of these is a result of ours.
"""

from __future__ import annotations

import functools
import tomllib
from importlib import resources
from typing import Any


@functools.cache
def load(name: str) -> dict[str, Any]:
    """The content of `published/<name>.toml`: "post", "claims" or "protocols".

    It is read once, so it is not to be changed. Points that a figure hides are NaN.
    Raises FileNotFoundError for a name that has no file.
    """
    return tomllib.loads((resources.files(__name__) / f"{name}.toml").read_text(encoding="utf-8"))
