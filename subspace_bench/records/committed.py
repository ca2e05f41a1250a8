"""The committed records: results/records of a checkout, or the copy in an installed wheel."""

from __future__ import annotations

from pathlib import Path

from subspace_bench.records.store import Store

PACKAGE = Path(__file__).parents[1]


def committed_store() -> Store:
    """The committed records; an empty store if this copy of the package has none."""
    checkout, wheel = PACKAGE.parent / "results" / "records", PACKAGE / "packaged_records"
    return Store(checkout if checkout.is_dir() else wheel)
