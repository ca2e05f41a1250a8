"""The pages of the suite. To add one, add a module with a `STUDY` to this package."""

from __future__ import annotations

from subspace_bench.experiments.study import Evidence, Plan, Study, discover
from subspace_bench.reporting.page import Page

STUDIES: dict[str, Study] = discover(__name__)

__all__ = ["STUDIES", "Evidence", "Page", "Plan", "Study"]
