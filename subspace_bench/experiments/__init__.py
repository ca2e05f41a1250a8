"""The reproduction and what goes beyond it: one module a page (registry.py)."""

from __future__ import annotations

from subspace_bench.experiments.registry import STUDIES
from subspace_bench.experiments.study import Evidence, Plan, Study
from subspace_bench.reporting.page import Page

__all__ = ["STUDIES", "Evidence", "Page", "Plan", "Study"]
