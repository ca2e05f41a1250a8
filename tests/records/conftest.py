"""The store that tests of records share."""

from __future__ import annotations

from pathlib import Path

import pytest
from stored_record import make_store

from subspace_bench.records.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """With one record."""
    return make_store(tmp_path / "runs")
