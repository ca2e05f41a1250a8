"""The committed records: results/records of a checkout, or what an installed wheel carries."""

from __future__ import annotations

from pathlib import Path

from subspace_bench.records.store import Store

PACKAGE = Path(__file__).parents[1]


def committed_store() -> Store | None:
    """The committed records, or None where this copy of the package has none."""
    for folder in (PACKAGE.parent / "results" / "records", PACKAGE / "packaged_records"):
        if folder.is_dir():
            return Store(folder)
    return None
