"""Rows that hold accuracies against a published number: the post, the reference, this machine."""

from __future__ import annotations

from typing import Any

import pandas as pd

from subspace_bench.experiments.base import Evidence
from subspace_bench.runs import Run
from subspace_bench.statistics import (
    DOES_NOT,
    REPRODUCES,
    TOO_FEW,
    Published,
    Sample,
    sampling_sd,
    verdict,
)


class Rows:
    """Collects a table row by row, once as strings to read and once as numbers."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.shown: list[dict[str, str]] = []
        self.numbers: list[dict[str, Any]] = []
        self.verdicts: list[str] = []

    def add(
        self,
        labels: dict[str, Any],
        run: Run,
        published: Published | None,
        printed: str,
        updates: int | None = None,
    ) -> None:
        """One row: `labels` lead it, `printed` is how the published number reads.

        Arguments:
            updates: where accuracies are compared, where not at `evidence.scored_at(run)`.
        """
        evidence = self.evidence
        reference = evidence.sample(run, own=False, updates=updates)
        own = evidence.sample(run, own=True, updates=updates)
        judged = evidence.comparable and published is not None
        said = verdict(reference, published, run.dim) if judged and published else ""
        shown = {k: f"{v:,}" if isinstance(v, int) else str(v) for k, v in labels.items()}
        shown |= {"post": printed, "reference": reference.show()}
        if not evidence.quick:
            shown["verdict"] = said
            self.verdicts.append(said)
        if evidence.has_own:
            shown["this machine"] = own.show()
            if evidence.comparable:
                shown["as the reference"] = agreement(reference, own)
        self.shown.append(shown)
        numbers: dict[str, Any] = {**labels, "updates": updates or evidence.scored_at(run)}
        numbers["post"] = published.value if published else None
        numbers |= described("reference", reference)
        if published is not None and not evidence.quick:
            extra = sampling_sd(reference.mean, published.draws) if published.draws else 0.0
            expected = reference.prediction(extra, published.rounding)
            numbers["expected_low"] = rounded(expected.low) if expected else None
            numbers["expected_high"] = rounded(expected.high) if expected else None
            numbers["verdict"] = said
        if evidence.has_own:
            numbers |= described("own", own)
        self.numbers.append(numbers)

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(self.shown)

    def data(self) -> pd.DataFrame:
        return pd.DataFrame(self.numbers)

    def chance(self) -> list[str]:
        """The paragraph that says how many verdicts chance alone would turn."""
        given = [v for v in self.verdicts if v in (REPRODUCES, DOES_NOT)]
        if not given:
            return []
        return [
            f"{len(given)} numbers were judged. If each were one more run of the same protocol, "
            f"chance alone would still put {0.05 * len(given):.1f} of them outside its 95% "
            "interval."
        ]

    def summary(self) -> str:
        """The line for the index."""
        if not self.evidence.comparable:
            return "MNIST-5k: nothing to hold against the post"
        if self.evidence.quick:
            return "quick run: no verdict"
        counts = {v: self.verdicts.count(v) for v in (REPRODUCES, DOES_NOT, TOO_FEW)}
        said = [
            f"{counts[REPRODUCES]} of {len(self.verdicts)} reproduce",
            f"{counts[DOES_NOT]} do not" if counts[DOES_NOT] else "",
            f"{counts[TOO_FEW]} have too few seeds" if counts[TOO_FEW] else "",
        ]
        unjudged = self.verdicts.count("")
        said.append(f"{unjudged} not judged" if unjudged else "")
        return ", ".join(s for s in said if s)


def agreement(reference: Sample, own: Sample) -> str:
    """Whether every own number lies where one more run of the reference would, with 95%."""
    expected = reference.prediction(rounding=0.01)
    if not own.n or expected is None:
        return ""
    outside = sum(value not in expected for value in own.values)
    if own.n == 1:
        return "yes" if not outside else "no"
    return f"{own.n - outside} of {own.n}"


def described(name: str, sample: Sample) -> dict[str, Any]:
    """Mean, interval and n as columns of numbers."""
    interval = sample.confidence()
    return {
        f"{name}_mean": rounded(sample.mean) if sample.n else None,
        f"{name}_low": rounded(interval.low) if interval else None,
        f"{name}_high": rounded(interval.high) if interval else None,
        f"{name}_n": sample.n,
    }


def rounded(value: float) -> float:
    """To 4 digits after the point: more than a test of 10,000 images can tell."""
    return round(value, 4)
