"""Rows that hold accuracies against a published number: the post, the reference, this machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from subspace_bench import published
from subspace_bench.experiments.base import Evidence
from subspace_bench.runs import Record, Run
from subspace_bench.statistics import (
    DOES_NOT,
    REPRODUCES,
    TOO_FEW,
    Published,
    Sample,
    sampling_sd,
    verdict,
)

Points = tuple[Sequence[float], Sequence[float]]  # steps, accuracies in %; NaN: hidden


def draws() -> int:
    """Test images that the post drew, with repeats, for each of its accuracies."""
    found: int = published.load("post")["scoring"]["draws"]
    return found


def read_off(curve: Points | None, updates: int, precision: float) -> tuple[Published | None, str]:
    """The point of a published curve that was scored after so many updates, and how it reads.

    The post's step i is scored after update i + 1. `precision` is the reading error either way.
    """
    if curve is None or updates - 1 not in curve[0]:
        return None, "—"
    value = curve[1][list(curve[0]).index(updates - 1)]
    if math.isnan(value):
        return None, "hidden"
    return Published(value, 2 * precision, draws()), f"{value:.1f}"


class Rows:
    """Collects a table row by row, once as strings to read and once as numbers."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.shown: list[dict[str, str]] = []
        self.numbers: list[dict[str, Any]] = []
        self.verdicts: list[str] = []
        self.has_own = False

    def add(
        self,
        labels: dict[str, Any],
        run: Run,
        value: Published | None,
        printed: str,
        judged: bool = True,
        absent: str = "not run",
    ) -> None:
        """One row.

        Arguments:
            labels: the row's first columns.
            value, printed: the published number, and how it reads.
            judged: whether the row claims to be the published protocol.
            absent: what stands where there is no reference.
        """
        evidence = self.evidence
        reference, own = evidence.sample(run, own=False), evidence.sample(run, own=True)
        judged = judged and evidence.comparable and not evidence.quick and value is not None
        said = verdict(reference, value, run.dim) if judged and value else ""
        shown = {k: f"{v:,}" if isinstance(v, int) else str(v) for k, v in labels.items()}
        shown |= {"post": printed, "reference": self.cell(run, reference, own=False) or absent}
        if not evidence.quick:
            shown["verdict"] = said
            self.verdicts += [said] if judged else []
        shown["this machine"] = self.cell(run, own, own=True)
        shown["against the reference"] = against(evidence, run)
        self.has_own = self.has_own or bool(own.n)
        self.shown.append(shown)
        self.numbers.append(
            {**labels, "updates": evidence.scored_at(run), **published_columns(value)}
            | described("reference", reference)
            | ({} if evidence.quick else expected(reference, value if judged else None, said))
            | described("own", own)
        )

    def cell(self, run: Run, sample: Sample, own: bool) -> str:
        """The accuracies of a row, and how many of its runs diverged."""
        lost = sum("diverged" in r.result for r in self.evidence.records(run, own))
        parts = [sample.show() if sample.n else "", f"{lost} diverged" if lost else ""]
        return ", ".join(part for part in parts if part)

    def frame(self) -> pd.DataFrame:
        """The table to read; without columns for a machine that has trained none of it."""
        mine = [] if self.has_own else ["this machine", "against the reference"]
        return pd.DataFrame(self.shown).drop(columns=mine)

    def data(self) -> pd.DataFrame:
        """The table in numbers."""
        frame = pd.DataFrame(self.numbers)
        return frame if self.has_own else frame.drop(columns=frame.filter(regex="^own_").columns)

    def chance(self) -> list[str]:
        """The paragraph that says how many verdicts chance alone would turn."""
        given = [v for v in self.verdicts if v in (REPRODUCES, DOES_NOT)]
        if not given:
            return []
        return [
            f"Numbers judged: {len(given)}. Were each of them one more run of the same protocol, "
            f"chance alone would still put about {0.05 * len(given):.2g} of them outside its 95% "
            "interval."
        ]

    def summary(self) -> str:
        """The line for the index."""
        if not self.evidence.comparable:
            return f"{self.evidence.plan.dataset}: nothing to hold against the post"
        if self.evidence.quick:
            return "quick run: no verdict"
        return tally(self.verdicts)


def tally(verdicts: Sequence[str]) -> str:
    """How many published numbers got which verdict."""
    names = {
        REPRODUCES: ("reproduces", "reproduce"),
        DOES_NOT: ("does not", "do not"),
        TOO_FEW: ("with too few seeds", "with too few seeds"),
        "": ("not judged yet", "not judged yet"),
    }
    return f"accuracies: {len(verdicts)} published, {counted(verdicts, names)}"


def counted(verdicts: Sequence[str], names: dict[str, tuple[str, str]]) -> str:
    """Each verdict that was given with its number; `names` for one and for several."""
    counts = {verdict: verdicts.count(verdict) for verdict in names}
    return ", ".join(f"{n} {names[v][n != 1]}" for v, n in counts.items() if n)


def against(evidence: Evidence, run: Run) -> str:
    """How the reader's runs stand to the reference: seeds in both by their bits, others by range.

    A seed that the reference has too is the same run: on the same class of machine it gives the
    same bits. Any other seed is one more run, and should lie in the 95% prediction interval.
    """
    at = evidence.scored_at(run)
    reference = {r.run.seed: r for r in evidence.reference(run)}
    known = evidence.sample(run, own=False).prediction(rounding=0.01)
    parts = []
    for record in evidence.own(run):
        mine, twin = record.accuracy_at(at), reference.get(record.run.seed)
        if mine is None:
            continue
        if twin is not None:
            parts.append(twins(record, twin, at))
        elif known is not None:
            parts.append("inside" if mine in known else "outside")
    kinds = dict.fromkeys(parts)
    if len(kinds) == 1:
        return parts[0]
    return ", ".join(f"{parts.count(part)} {part}" for part in kinds)


def twins(mine: Record, reference: Record, at: int) -> str:
    """The same run on two machines: the same curve, or how far apart at the score compared."""
    shared = [row for row in reference.result["curve"] if row[0] <= at]
    if [row for row in mine.result["curve"] if row[0] <= at] == shared:
        return "same bits"
    gap = (mine.accuracy_at(at) or math.nan) - (reference.accuracy_at(at) or math.nan)
    return f"{gap:+.2f}"


def published_columns(value: Published | None) -> dict[str, Any]:
    """A published number, or the ends of a published range."""
    if value is None:
        return {"post_low": None, "post_high": None}
    ends = value.range
    if ends is None:
        return {"post_low": value.value, "post_high": value.value}
    return {"post_low": ends.low, "post_high": ends.high}


def expected(sample: Sample, value: Published | None, said: str) -> dict[str, Any]:
    """The interval that the verdict used."""
    interval = None
    if value is not None and sample.n:
        spread = sampling_sd(sample.mean, value.draws) if value.draws else 0.0
        interval = sample.prediction(spread, value.rounding)
    return {
        "expected_low": rounded(interval.low) if interval else None,
        "expected_high": rounded(interval.high) if interval else None,
        "verdict": said,
    }


def described(name: str, sample: Sample) -> dict[str, Any]:
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
    """To 4 digits after the point: more than a test of 10,000 images can tell."""
    return round(value, 4)
