"""Rows that hold accuracies against a published number: the post, the reference, this machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from subspace_bench.experiments import published
from subspace_bench.experiments.study import Evidence
from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Record
from subspace_bench.reporting.statistics import (
    DOES_NOT,
    REPRODUCES,
    TOO_FEW,
    Published,
    Sample,
    binomial_sd,
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


class ComparisonTable:
    """Collects a table row by row, once as strings to read and once as numbers."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.shown: list[dict[str, str]] = []
        self.numbers: list[dict[str, Any]] = []
        self.verdicts: list[str] = []
        self.own_verdicts: list[str] = []
        self.apart: dict[str, str] = {}
        self.has_own = False

    def add(
        self,
        labels: dict[str, Any],
        run: RunConfig,
        value: Published | None,
        printed: str,
        judged: bool = True,
        absent: str = "not run",
        apart: str = "",
    ) -> None:
        """One row.

        Arguments:
            labels: the row's first columns.
            value, printed: the published number, and how it reads.
            judged: whether the row claims to be the published protocol.
            absent: what stands where there is no reference.
            apart: of a row that the post does not have, its name in the index.
        """
        evidence = self.evidence
        reference, own = evidence.sample(run, own=False), evidence.sample(run, own=True)
        judged = judged and evidence.comparable and not evidence.quick and value is not None
        said, own_said = (
            verdict(found, value, run.dim) if judged and value else "" for found in (reference, own)
        )
        shown = {k: f"{v:,}" if isinstance(v, int) else str(v) for k, v in labels.items()}
        shown |= {"post": printed, "reference": self.cell(run, reference, own=False) or absent}
        if not evidence.quick:
            shown["verdict"] = said
        if judged and apart:
            self.apart[apart] = said
        elif judged:
            self.verdicts.append(said)
            self.own_verdicts.append(own_said)
        shown["this machine"] = self.cell(run, own, own=True)
        shown["its verdict"] = own_said
        shown["against the reference"] = against(evidence, run)
        self.has_own = self.has_own or bool(own.n)
        self.shown.append(shown)
        self.numbers.append(
            {**labels, "updates": evidence.scored_at(run), **published_columns(value)}
            | described("reference", reference)
            | ({} if evidence.quick else expected(reference, value if judged else None, said))
            | described("own", own)
            | {"own_verdict": own_said}
        )

    def cell(self, run: RunConfig, sample: Sample, own: bool) -> str:
        """The accuracies of a row, and how many of its runs diverged."""
        lost = sum("diverged" in r.result for r in self.evidence.records(run, own))
        parts = [sample.show() if sample.n else "", f"{lost} diverged" if lost else ""]
        return ", ".join(part for part in parts if part)

    def frame(self) -> pd.DataFrame:
        """The table to read; without columns for a machine that has trained none of it."""
        frame = pd.DataFrame(self.shown)
        if not self.has_own:
            return frame.drop(columns=["this machine", "its verdict", "against the reference"])
        return frame if any(frame["its verdict"]) else frame.drop(columns="its verdict")

    def data(self) -> pd.DataFrame:
        """The table in numbers."""
        frame = pd.DataFrame(self.numbers)
        return frame if self.has_own else frame.drop(columns=frame.filter(regex="^own_").columns)

    def chance(self) -> list[str]:
        """The paragraph that says how many verdicts chance alone would turn."""
        every = [*self.verdicts, *self.apart.values()]
        given = [v for v in every if v in (REPRODUCES, DOES_NOT)]
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
        parts = [f"accuracies: {len(self.verdicts)} published, {counted(self.verdicts, NAMES)}"]
        parts += [f"{name}: {said or NAMES[''][0]}" for name, said in self.apart.items()]
        if any(self.own_verdicts):
            parts.append(f"this machine: {counted(self.own_verdicts, NAMES)}")
        return "; ".join(parts)


NAMES = {  # of verdicts, for one and for several
    REPRODUCES: ("reproduces", "reproduce"),
    DOES_NOT: ("does not", "do not"),
    TOO_FEW: ("with too few seeds", "with too few seeds"),
    "": ("not judged yet", "not judged yet"),
}


def counted(verdicts: Sequence[str], names: dict[str, tuple[str, str]]) -> str:
    """Each verdict that was given with its number; `names` for one and for several."""
    counts = {verdict: verdicts.count(verdict) for verdict in names}
    return ", ".join(f"{n} {names[v][n != 1]}" for v, n in counts.items() if n)


def against(evidence: Evidence, run: RunConfig) -> str:
    """How the reader's runs stand to the reference: by their bits, else by its range.

    A seed that the reference has too is the same run: on the same class of machine it gives the
    same bits, elsewhere a gap. It, and any other seed, should lie in the 95% prediction interval.
    """
    at = evidence.scored_at(run)
    reference = {r.run.seed: r for r in evidence.reference(run)}
    known = evidence.sample(run, own=False).prediction(rounding=0.01)
    parts = []
    for record in evidence.own(run):
        mine, twin = record.accuracy_at(at), reference.get(record.run.seed)
        if mine is None:
            continue
        place = "" if known is None else "inside" if mine in known else "outside"
        if twin is None:
            parts += [place] if place else []
        elif same_curve(record, twin, at):
            parts.append("same bits")
        else:
            gap = mine - (twin.accuracy_at(at) or math.nan)
            parts.append(f"{gap:+.2f}, {place or 'other bits'}")
    kinds = dict.fromkeys(parts)
    if len(kinds) == 1:
        return parts[0]
    return "; ".join(f"{parts.count(part)} {part}" if part[0].isalpha() else part for part in kinds)


def same_curve(mine: Record, reference: Record, at: int) -> bool:
    """Whether the same run on two machines scored the same bits up to the score compared."""
    ours, theirs = ([r for r in x.result["curve"] if r[0] <= at] for x in (mine, reference))
    return bool(ours == theirs)


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
        spread = binomial_sd(sample.mean, value.draws) if value.draws else 0.0
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
