"""Damage to bytes and to well-formed content."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 10**400, 1.5, 1e308, -1e-320, float("nan"), float("inf"), "", "text", "<b>",
    [], {}, [[1]],
)  # fmt: skip


def mutated(data: bytes, draw: random.Random) -> tuple[str, bytes]:
    """What was done to the bytes, and the result, which differs from them."""
    half, at = len(data) // 2, draw.randrange(len(data))
    flipped, overwritten = bytearray(data), bytearray(data)
    flipped[at] ^= 1 << draw.randrange(8)
    overwritten[at : at + 8] = draw.randbytes(8)
    return draw.choice(
        [
            ("a flipped bit", bytes(flipped)),
            ("eight random bytes", bytes(overwritten)),
            ("truncated", data[:at]),
            ("its halves swapped", data[half:] + data[:half]),
            ("empty", b""),
            ("zeros", bytes(len(data))),
            ("a byte more", data + draw.randbytes(1)),
            ("a part repeated", data[:at] + data[at // 2 :]),
            ("random bytes", draw.randbytes(200)),
            ("a deep list", b"[" * 100_000),
            ("another file", Path(__file__).read_bytes()),
        ]
    )


def put_nonsense(content: Any, draw: random.Random, avoid: tuple[str, ...] = ()) -> str:
    """Replaces or deletes a value somewhere in nested lists and tables; says which."""
    where: list[str] = []
    while True:
        keys = list(content) if isinstance(content, dict) else list(range(len(content)))
        key = draw.choice([key for key in keys if key not in avoid])
        where.append(str(key))
        inner = content[key]
        if isinstance(inner, dict | list) and len(inner) and draw.random() < 0.8:
            content = inner
            continue
        if draw.random() < 0.2:
            del content[key]
            return f"{'.'.join(where)} deleted"
        content[key] = draw.choice([value for value in VALUES if repr(value) != repr(inner)])
        return f"{'.'.join(where)} = {str(content[key])[:20]}"
