"""Every testable sentence of the post, its criterion, the evidence and a verdict.

The criteria stand in `published/claims.toml`, written before the runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from subspace_bench import published
from subspace_bench.experiments import trainings, tutorials
from subspace_bench.experiments.accuracies import counted
from subspace_bench.experiments.base import Evidence, Experiment, Page, Plan
from subspace_bench.runs import Run
from subspace_bench.statistics import (
    FAILS,
    HOLDS,
    UNDECIDED,
    Interval,
    Sample,
    at_least,
    at_most,
    difference,
)

TITLE = "Claims: the testable sentences of the post"
EPOCHS = 100
Claim = dict[str, Any]
Judged = tuple[str, str]  # evidence, verdict


def runs(plan: Plan) -> list[Run]:
    """What the claims need beyond the other tables; only the full profile trains these."""
    if plan.profile != "full":
        return []
    nets = [trainings.post("conv", d, EPOCHS) for d in (None, *dims())]
    nets += [trainings.lite("cnn-10754"), trainings.lite("cnn-10754", EPOCHS)]
    nets += [trainings.lite("cnn-3369")]
    nets += [trainings.post(m, d, 10) for m in ("conv", "fc") for d in trainings.SMALL]
    return plan.all_seeds(nets)


def dims() -> list[int]:
    """Every d that a claim speaks of."""
    claims = published.load("claims")["claim"]
    return sorted(
        {d for c in claims for d in [*c.get("dims", []), *([c["dim"]] if "dim" in c else [])]}
    )


def page(evidence: Evidence) -> Page:
    shown, numbers = [], []
    for claim in published.load("claims")["claim"]:
        found, said = judge(claim, evidence)
        shown.append({"the post": f"“{claim['sentence']}”", "criterion": claim["criterion"],
                      "evidence": found, "verdict": said})  # fmt: skip
        numbers.append({"id": claim["id"], "evidence": found, "verdict": said})
    verdicts = [row["verdict"] for row in numbers]
    names = {
        HOLDS: ("holds", "hold"),
        FAILS: ("does not", "do not"),
        UNDECIDED: ("not decidable yet", "not decidable yet"),
    }
    summary = f"{len(verdicts)} claims: {counted(verdicts, names)}"
    return Page(
        TITLE, OPENING, pd.DataFrame(shown), pd.DataFrame(numbers), NOTES, summary,
        {} if evidence.quick else {"claims": lambda: draw(evidence)},
    )  # fmt: skip


def judge(claim: Claim, evidence: Evidence) -> Judged:
    """Evidence and verdict of one claim, from the reference; quick and MNIST-5k decide nothing."""
    if evidence.quick or not evidence.comparable:
        return "not judged from these runs", UNDECIDED
    return JUDGES[claim["kind"]](claim, evidence)


def conv(evidence: Evidence, dim: int | None, epochs: int = EPOCHS) -> Sample:
    """The conv net's accuracies after so many epochs, from its 100-epoch runs."""
    run = trainings.post("conv", dim, EPOCHS)
    at = None if epochs == EPOCHS else trainings.post("conv", dim, epochs).protocol.last_score
    return evidence.sample(run, own=False, updates=at)


def within(claim: Claim, evidence: Evidence) -> Judged:
    parts, verdicts = [], []
    full = conv(evidence, None)
    for dim in claim["dims"]:
        gap = difference(full, conv(evidence, dim))
        verdicts.append(at_most(gap, claim["points"]))
        parts.append(f"{dim:,} ({1 - dim / trainings.native('conv'):.0%} fewer): {points(gap)}")
    said = FAILS if FAILS in verdicts else UNDECIDED if UNDECIDED in verdicts else HOLDS
    return "below D by " + "; ".join(parts), said


def cost(claim: Claim, evidence: Evidence) -> Judged:
    gap = difference(conv(evidence, None), conv(evidence, claim["dim"]))
    if gap is None:
        return "not run", UNDECIDED
    printed = Interval(claim["low"], claim["high"])
    if not gap.overlaps(printed):
        return f"costs {points(gap)}", FAILS
    inside = printed.low <= gap.low and gap.high <= printed.high
    return f"costs {points(gap)}", HOLDS if inside else UNDECIDED


def beats(claim: Claim, evidence: Evidence) -> Judged:
    small = evidence.sample(trainings.lite(claim["lite"], claim["epochs"]), own=False)
    ours = conv(evidence, claim["dim"])
    gap = difference(ours, small)
    if gap is None:
        return "not run", UNDECIDED
    found = f"{ours.show()} against {small.show()}: ahead by {points(gap)}"
    return found, at_least(gap, 0.0)


def reaches(claim: Claim, evidence: Evidence) -> Judged:
    parts, verdicts = [], []
    deciding = claim.get("deciding") or claim["epochs"]
    for epochs in claim["epochs"]:
        if "lite" in claim:
            sample = evidence.sample(trainings.lite(claim["lite"], epochs), own=False)
        else:
            sample = conv(evidence, claim["dim"], epochs)
        parts.append(f"{sample.show()} after {epochs} epochs")
        if epochs in deciding:
            verdicts.append(at_least(sample.confidence(), claim["percent"]))
    said = HOLDS if HOLDS in verdicts else UNDECIDED if UNDECIDED in verdicts else FAILS
    return "; ".join(parts), said


def alike(claim: Claim, evidence: Evidence) -> Judged:
    parts, verdicts = [], []
    for dim in (*trainings.SMALL, None):
        runs = [trainings.post(model, dim, 10) for model in ("conv", "fc")]
        scored = [u for u in range(1, runs[0].protocol.steps) if runs[0].protocol.scored(u)]
        # The largest of many gaps is picked, so that all of them share the 95%.
        looks = len(scored)
        gaps = {}
        for u in scored:
            conv_at, fc_at = (evidence.sample(run, False, u) for run in runs)
            gaps[u] = difference(conv_at, fc_at, looks)
        known = {u: gap for u, gap in gaps.items() if gap is not None}
        if not known:
            return "not run", UNDECIDED
        at = max(known, key=lambda u: abs(known[u].low + known[u].high))
        verdicts.append(at_most(size_of(known[at]), claim["points"]))
        name = f"d = {dim:,}" if dim else "D"
        parts.append(f"{name}: {points(known[at])} at step {at - 1:,}")
    said = FAILS if FAILS in verdicts else UNDECIDED if UNDECIDED in verdicts else HOLDS
    return "largest gap, conv − FC: " + "; ".join(parts) + f". {gap_of_the_post()}", said


def gap_of_the_post() -> str:
    """How far the post's own two figures are apart, where both show a point."""
    curves = published.load("post")["ultra-small"]["curves"]
    gaps = [
        (abs(a - b), dim, step)
        for dim in curves["conv"]
        for step, a, b in zip(curves["steps"], curves["conv"][dim], curves["fc"][dim], strict=True)
        if not math.isnan(a + b)
    ]
    gap, dim, step = max(gaps)
    return f"In the post's own figures: {gap:.1f} at {dim.replace('d', 'd = ')}, step {step:,}"


def size_of(gap: Interval) -> Interval:
    """Where the absolute value lies."""
    ends = sorted((abs(gap.low), abs(gap.high)))
    return Interval(0.0 if 0.0 in gap else ends[0], ends[1])


def counts(claim: Claim, evidence: Evidence) -> Judged:
    """The claims on the tutorials: by our counts, and the accuracies their authors claim."""
    good = {
        row: count
        for row, count in tutorials.counts().items()
        if tutorials.claimed(row).high >= 99.0 and row != "2"
    }
    pytorch = tutorials.counts()["2"]
    if "below" in claim:
        others = [r for r, count in good.items() if count < claim["below"]]
        found = "; ".join(
            f"row {r}: {good[r]:,} parameters, claims {tutorials.row_of(r)['accuracy_text']}"
            for r in others
        )
        return found or "no other", FAILS if others else HOLDS
    smallest = min(good, key=lambda r: good[r])
    own = evidence.sample(trainings.tutorial("2"), own=False)
    found = (
        f"{pytorch:,} parameters, {own.show()} under its own protocol; the next is row {smallest} "
        f"with {good[smallest]:,}"
    )
    if pytorch >= good[smallest]:
        return found, FAILS
    return found, at_least(own.confidence(), claim["percent"])


JUDGES: dict[str, Callable[[Claim, Evidence], Judged]] = {
    "within": within,
    "cost": cost,
    "beats": beats,
    "reaches": reaches,
    "alike": alike,
    "counts": counts,
}


def points(gap: Interval | None) -> str:
    """Middle ± half-width of a difference, in points."""
    if gap is None:
        return "not run"
    return f"{(gap.low + gap.high) / 2:.2f} ± {gap.half_width:.2f}"


def draw(evidence: Evidence) -> Figure:
    """Accuracy after 100 epochs over d, with the lines that the claims speak of."""
    figure, axes = plt.subplots(figsize=(7, 4))
    samples = {d or trainings.native("conv"): conv(evidence, d) for d in (*dims(), None)}
    samples = {d: sample for d, sample in samples.items() if sample.n}
    means = [s.mean for s in samples.values()]
    low = [s.mean - min(s.values) for s in samples.values()]
    high = [max(s.values) - s.mean for s in samples.values()]
    axes.errorbar(list(samples), means, yerr=[low, high], fmt="o", capsize=3, ms=4,
                  label="ours: mean, all seeds")  # fmt: skip
    if evidence.comparable:
        table = published.load("post")["subspace"]["rows"]
        axes.plot(
            [r["free"] for r in table], [r["accuracy"] for r in table], "kx", label="the post"
        )
    if trainings.native("conv") in samples:
        for gap, style in ((1, "--"), (2, ":")):
            axes.axhline(
                means[-1] - gap,
                color="0.5",
                ls=style,
                lw=1,
                label=f"D − {gap} point{'s'[: gap - 1]}",
            )
    axes.set_xscale("log")
    ticks = [*dims(), trainings.native("conv")]
    axes.set_xticks(ticks, [f"{t:,}" for t in ticks], rotation=60, ha="right", fontsize=8)
    axes.minorticks_off()
    axes.set_xlabel("free parameters")
    axes.set_ylabel("test accuracy after 100 epochs, %")
    axes.legend(loc="lower right")
    return figure


OPENING = [
    "The criteria stand in `subspace_bench/published/claims.toml`, committed before any 100-epoch "
    "run in a subspace; its history shows what changed since: the criteria of the FC curves, of "
    "0.2%, of 93.5% and of the smallest model were made stricter after the first seeds. Evidence "
    "is from the reference records: means with 95% intervals over seeds, differences by Welch. "
    "*Not decidable yet* means that the interval holds the threshold, or too few runs.",
]
NOTES = [
    "The post also quotes Li et al. that cart-pole is 100 times easier than MNIST; that is a claim "
    "about reinforcement learning, not about the post's own runs, and is not tested on this page.",
]
EXPERIMENT = Experiment("claims", TITLE, runs, page)
