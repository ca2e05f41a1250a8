"""A table that compares published accuracies with ours and with the user's.

Columns: *post*, *ours* (committed records) and its *verdict*; *local* (records of this machine),
its verdict, and how it compares with ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from subspace_bench.experiments import published
from subspace_bench.experiments.study import Evidence
from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Record
from subspace_bench.reporting.statistics import (
    DOES_NOT,
    LEVEL,
    REPRODUCES,
    TOO_FEW,
    Published,
    Sample,
    verdict,
)

Points = tuple[Sequence[float], Sequence[float]]  # steps, accuracies in %; NaN: hidden
LOCAL = ("local", "local verdict", "local vs ours")  # columns


def drawn_images() -> int:
    """Number of test images that the post drew, with repeats, for each accuracy."""
    count: int = published.load("post")["scoring"]["draws"]
    return count


def published_point(
    curve: Points | None, updates: int, precision: float
) -> tuple[Published | None, str]:
    """The point of a published curve after this many updates, as a number and as text.

    Arguments:
        precision: reading error of the figure, in points either way.
    """
    if curve is None or updates - 1 not in curve[0]:  # the post's step i ends with update i + 1
        return None, "—"
    value = curve[1][list(curve[0]).index(updates - 1)]
    if math.isnan(value):
        return None, "hidden"
    return Published(value, 2 * precision, drawn_images()), f"{value:.1f}"


@dataclass(frozen=True)
class Comparison:
    """A published number and what it is compared with."""

    name: str
    printed: str
    ours: Sample
    verdict: str
    local_verdict: str


class ComparisonTable:
    """Collects rows in two forms: strings to read, and numbers."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.comparisons: list[Comparison] = []  # rows that the summary counts
        self.extra: list[Comparison] = []  # other rows with a verdict
        self._shown: list[dict[str, str]] = []
        self._numbers: list[dict[str, Any]] = []
        self.records: list[list[str]] = []  # the names of the records behind each row

    def add(
        self,
        name: str,
        labels: dict[str, Any],
        run: RunConfig,
        value: Published | None,
        printed: str,
        judged: bool = True,
        extra: bool = False,
    ) -> None:
        """Adds a row.

        Arguments:
            name: what summaries call the row.
            labels: the first columns.
            value, printed: the published number, and its text.
            judged: whether the row gets a verdict.
            extra: whether the summary leaves the row out.
        """
        evidence = self.evidence
        self.records.append(evidence.names(run))
        ours, local = evidence.sample(run), evidence.sample(run, local=True)
        judgeable = judged and evidence.comparable and not evidence.quick
        target = value if judgeable else None
        verdicts = ["", ""]
        if target is not None:
            verdicts[0] = verdict(ours, target, run.dim)
            if local.n > 1:  # who has trained one seed has asked for no verdict
                verdicts[1] = verdict(local, target, run.dim)
            comparison = Comparison(name, printed, ours, *verdicts)
            (self.extra if extra else self.comparisons).append(comparison)
        shown = {k: f"{v:,}" if isinstance(v, int) else str(v) for k, v in labels.items()}
        shown |= {"post": printed, "ours": self._cell(run, ours, local=False) or "not run"}
        if not evidence.quick:
            shown["verdict"] = verdicts[0]
        cells = (self._cell(run, local, local=True), verdicts[1], local_vs_ours(evidence, run))
        self._shown.append(shown | dict(zip(LOCAL, cells, strict=True)))
        self._numbers.append(
            {**labels, "updates": evidence.scored_at(run), **published_columns(value)}
            | sample_columns("ours", ours)
            | ({} if evidence.quick else verdict_columns(ours, target, verdicts[0]))
            | sample_columns("local", local)
            | {"local_verdict": verdicts[1]}
        )

    def _cell(self, run: RunConfig, sample: Sample, local: bool) -> str:
        """Accuracies of a row, and the number of diverged runs."""
        diverged = sum("diverged" in r.result for r in self.evidence.records(run, local))
        parts = [sample.show() if sample.n else "", f"{diverged} diverged" if diverged else ""]
        return ", ".join(part for part in parts if part)

    @property
    def _has_local(self) -> bool:
        return any(row["local_n"] for row in self._numbers)

    def frame(self) -> pd.DataFrame:
        """The table to read; it has local columns only if there are local records."""
        frame = pd.DataFrame(self._shown)
        if not self._has_local:
            return frame.drop(columns=list(LOCAL))
        return frame if any(frame["local verdict"]) else frame.drop(columns="local verdict")

    def data(self) -> pd.DataFrame:
        """The table in numbers."""
        frame = pd.DataFrame(self._numbers)
        return frame if self._has_local else frame.filter(regex="^(?!local_)")

    def values(self) -> dict[str, Any]:
        """For templates: the rows, the verdicts given, and how many are wrong by chance."""
        return {"comparisons": self.comparisons} | chance_values([*self.comparisons, *self.extra])

    def summary(self) -> str:
        """What the table found, in one line."""
        if not self.evidence.comparable:
            return f"Trained on {self.evidence.plan.dataset}: not comparable with the post"
        if self.evidence.quick:
            return self._quick_summary()
        text = reproduction([c.verdict for c in self.comparisons])
        if all(c.verdict == REPRODUCES for c in self.comparisons):
            ours = ", ".join(f"{c.ours.mean:.1f}" for c in self.comparisons)
            text += f": {ours}% (published {', '.join(c.printed for c in self.comparisons)})"
        elif missed := show_missed(self.comparisons):
            text += f": {missed}"
        local = [c.local_verdict for c in self.comparisons]
        return f"{text}; local: {reproduction(local)}" if any(local) else text

    def _quick_summary(self) -> str:
        gaps = [
            abs(row["local_mean"] - row["post_low"])
            for row in self._numbers
            if row["local_n"] and row["post_low"] is not None
        ]
        text = f"Quick run, accuracies compared with the post at the same step: {len(gaps)}"
        return f"{text}, at most {max(gaps):.1f} points apart" if gaps else text


def chance_values(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """The number of verdicts given, and how many of them chance alone would make miss."""
    judged = sum(c.verdict in (REPRODUCES, DOES_NOT) for c in comparisons)
    return {"judged": judged, "by_chance": f"{(1 - LEVEL) * judged:.2g}"}


def show_missed(comparisons: Sequence[Comparison]) -> str:
    """The numbers that do not reproduce, with ours; "" if there are none."""
    return ", ".join(
        f"{c.name} has {c.ours.mean:.2f}% (published {c.printed})"
        for c in comparisons
        if c.verdict == DOES_NOT
    )


def reproduction(verdicts: Sequence[str]) -> str:
    """How many published accuracies reproduce, and the other verdicts."""
    count = len(verdicts)
    if count and verdicts.count(REPRODUCES) == count:
        return f"All {count} published accuracies reproduce"
    parts = [f"{verdicts.count(REPRODUCES)} of {count} published accuracies reproduce"]
    if waiting := sum(v in ("", TOO_FEW) for v in verdicts):
        parts.append(f"{waiting} {'has' if waiting == 1 else 'have'} too few seeds to tell")
    if missed := verdicts.count(DOES_NOT):
        parts.append(f"{missed} {'does' if missed == 1 else 'do'} not")
    return ", ".join(parts)


def local_vs_ours(evidence: Evidence, run: RunConfig) -> str:
    """Compares local runs with committed ones of the same seed, or with their range.

    A run with the same seed gives the same bits on the same class of machine; elsewhere the
    difference is shown in points. Each seed should lie in the 95% prediction interval of ours.
    """
    at = evidence.scored_at(run)
    committed = {record.run.seed: record for record in evidence.committed(run)}
    expected = evidence.sample(run).prediction(rounding=0.01)
    parts = []
    for record in evidence.local(run):
        accuracy, ours = record.accuracy_at(at), committed.get(record.run.seed)
        if accuracy is None:
            continue
        position = "" if expected is None else "inside" if accuracy in expected else "outside"
        if ours is None:
            parts += [position] if position else []
        elif curve_until(record, at) == curve_until(ours, at):
            parts.append("same bits")
        else:
            gap = accuracy - (ours.accuracy_at(at) or math.nan)
            parts.append(f"{gap:+z.2f}, {position or 'other bits'}")
    kinds = dict.fromkeys(parts)
    if len(kinds) == 1:
        return parts[0]
    return "; ".join(f"{parts.count(part)} {part}" if part[0].isalpha() else part for part in kinds)


def curve_until(record: Record, updates: int) -> list[list[float]]:
    """The scores up to an update."""
    return [row for row in record.result["curve"] if row[0] <= updates]


def published_columns(value: Published | None) -> dict[str, Any]:
    """A published number, or the ends of a published range."""
    if value is None:
        return {"post_low": None, "post_high": None}
    if value.range is None:
        return {"post_low": value.value, "post_high": value.value}
    return {"post_low": value.range.low, "post_high": value.range.high}


def verdict_columns(sample: Sample, value: Published | None, judgement: str) -> dict[str, Any]:
    """The interval that the verdict used, and the verdict."""
    interval = None if value is None else value.expected(sample)
    return {
        "expected_low": rounded(interval.low) if interval else None,
        "expected_high": rounded(interval.high) if interval else None,
        "verdict": judgement,
    }


def sample_columns(name: str, sample: Sample) -> dict[str, Any]:
    """Mean, its interval, range and n, as columns of numbers."""
    interval = sample.confidence()
    return {
        f"{name}_mean": rounded(sample.mean) if sample.n else None,
        f"{name}_low": rounded(interval.low) if interval else None,
        f"{name}_high": rounded(interval.high) if interval else None,
        f"{name}_least": min(sample.values, default=None),
        f"{name}_most": max(sample.values, default=None),
        f"{name}_n": sample.n,
    }


def rounded(value: float) -> float:
    """Rounds to 4 decimals; a test of 10,000 images resolves two."""
    return round(value, 4)
