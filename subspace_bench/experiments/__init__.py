"""The tables of the suite, by name and in the order of the post. Adding one is adding a module."""

from __future__ import annotations

from subspace_bench.experiments import (
    claims,
    mnist_lite,
    projector_accuracy,
    subspace,
    tutorials,
    ultra_small,
)
from subspace_bench.experiments.legacy_page import Page
from subspace_bench.experiments.study import Evidence, Plan, Study

STUDIES: dict[str, Study] = {
    module.STUDY.name: module.STUDY
    for module in (tutorials, mnist_lite, subspace, ultra_small, claims, projector_accuracy)
}

__all__ = ["EXPERIMENTS", "Evidence", "Experiment", "Page", "Plan"]
