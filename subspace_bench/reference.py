"""The committed records: results/reference of a checkout, or what an installed wheel carries."""

from __future__ import annotations

from pathlib import Path

from subspace_bench.runs import Store

PACKAGE = Path(__file__).parent


def reference_store() -> Store | None:
    """The reference records, or None where this copy of the package has none."""
    for folder in (PACKAGE.parent / "results" / "reference", PACKAGE / "reference_records"):
        if folder.is_dir():
            return Store(folder)
    return None
