"""What is committed, in `results/` of a checkout, or as a copy in an installed wheel."""

from __future__ import annotations

from pathlib import Path

from subspace_bench.records.store import Store

PACKAGE = Path(__file__).parents[1]
REFERENCE = Path("results") / "regression.toml"


def committed_store() -> Store:
    """The committed records; an empty store if this copy of the package has none."""
    checkout, wheel = PACKAGE.parent / "results" / "records", PACKAGE / "packaged_records"
    return Store(checkout if checkout.is_dir() else wheel)


def committed_reference() -> Path:
    """The file of the reference distribution of `subspace-bench check`."""
    checkout, wheel = PACKAGE.parent / REFERENCE, PACKAGE / "packaged_regression.toml"
    return wheel if wheel.exists() else checkout
