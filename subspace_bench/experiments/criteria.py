"""How each kind of criterion in `published/claims.toml` is judged, from accuracies over seeds.

Where one of several intervals decides, they share the 95% (Bonferroni); too few seeds decide
nothing, whatever they show.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from subspace_bench.experiments import published, tutorials
from subspace_bench.reporting.statistics import (
    FAILS,
    HOLDS,
    UNDECIDED,
    Interval,
    Sample,
    at_least,
    at_most,
    difference,
)
from subspace_bench.training import presets

EPOCHS = 100
Claim = dict[str, Any]
Judged = tuple[str, str]  # evidence, verdict
Look = Callable[..., Sample]  # (run, updates=…): its accuracies over seeds


def conv(look: Look, dim: int | None, epochs: int = EPOCHS) -> Sample:
    """The conv net's accuracies after so many epochs, from its 100-epoch runs."""
    run = presets.post("conv", dim, EPOCHS)
    at = None if epochs == EPOCHS else presets.post("conv", dim, epochs).protocol.last_score
    return look(run, updates=at)


def enough(sample: Sample, dim: int | None = None) -> bool:
    """Whether a sample has the seeds that a verdict asks for: fewer where one takes an hour."""
    seeds = published.load("claims")["seeds"]
    long = dim is not None and dim >= seeds["long_from"]
    return bool(sample.n >= seeds["long" if long else "fewest"])


def compared(
    a: tuple[Sample, int | None], b: tuple[Sample, int | None], looks: int = 1
) -> tuple[str, Interval | None]:
    """How far a's mean is above b's, each with its d, in words with both n.

    Arguments:
        looks: how many differences share the 95%.

    Returns:
        Words, and the interval where both have seeds enough to decide by it.
    """
    (first, _), (second, _) = a, b
    if not (first.n and second.n):
        return "not run", None
    gap = difference(first, second, looks)
    middle = points(gap) if gap else f"{first.mean - second.mean:.2f}"
    text = f"{middle} (n = {first.n} and {second.n})"
    if enough(*a) and enough(*b):
        return text, gap
    return f"{text}, too few seeds", None


def points(gap: Interval) -> str:
    """Middle ± half-width of a difference, in points."""
    return f"{(gap.low + gap.high) / 2:.2f} ± {gap.half_width:.2f}"


def all_of(verdicts: Sequence[str]) -> str:
    return FAILS if FAILS in verdicts else UNDECIDED if UNDECIDED in verdicts else HOLDS


def any_of(verdicts: Sequence[str]) -> str:
    return HOLDS if HOLDS in verdicts else UNDECIDED if UNDECIDED in verdicts else FAILS


def within(claim: Claim, look: Look) -> Judged:
    parts, verdicts = [], []
    full = conv(look, None)
    for dim in claim["dims"]:
        found, gap = compared((full, None), (conv(look, dim), dim), looks=len(claim["dims"]))
        verdicts.append(at_most(gap, claim["points"]))
        parts.append(f"{dim:,} ({1 - dim / presets.native('conv'):.0%} fewer): {found}")
    return "below D by " + "; ".join(parts), all_of(verdicts)


def cost(claim: Claim, look: Look) -> Judged:
    found, gap = compared((conv(look, None), None), (conv(look, claim["dim"]), claim["dim"]))
    printed = Interval(claim["low"], claim["high"])
    if gap is None:
        said = UNDECIDED
    elif not gap.overlaps(printed):
        said = FAILS
    else:
        said = HOLDS if printed.low <= gap.low and gap.high <= printed.high else UNDECIDED
    return f"costs {found}", said


def beats(claim: Claim, look: Look) -> Judged:
    small = look(presets.lite(claim["lite"], claim["epochs"]))
    ours = conv(look, claim["dim"])
    found, gap = compared((ours, claim["dim"]), (small, None))
    return f"{ours.show()} against {small.show()}: ahead by {found}", at_least(gap, 0.0)


def reaches(claim: Claim, look: Look) -> Judged:
    """Any of the deciding lengths is enough, so that they share the 95%."""
    parts, verdicts = [], []
    deciding = claim.get("deciding") or claim["epochs"]
    for epochs in claim["epochs"]:
        if "lite" in claim:
            sample = look(presets.lite(claim["lite"], epochs))
        else:
            sample = conv(look, claim["dim"], epochs)
        looks = len(deciding) if epochs in deciding else 1
        ready = enough(sample, claim.get("dim"))
        few = ", too few seeds" if sample.n and not ready else ""
        parts.append(f"{sample.show(looks)} after {epochs} epochs{few}")
        if epochs in deciding:
            known = sample.confidence(looks) if ready else None
            verdicts.append(at_least(known, claim["percent"]))
    return "; ".join(parts), any_of(verdicts)


def alike(claim: Claim, look: Look) -> Judged:
    """Every score at every d is held to the threshold, so that all of them share the 95%."""
    dims = (*presets.SMALL, None)
    protocol = presets.post("conv", None, 10).protocol
    scored = [u for u in range(1, protocol.steps) if protocol.scored(u)]
    parts, verdicts = [], []
    for dim in dims:
        nets = [presets.post(model, dim, 10) for model in ("conv", "fc")]
        at = {u: [look(run, updates=u) for run in nets] for u in scored}
        looks = len(scored) * len(dims)
        gaps = {
            u: difference(of_conv, of_fc, looks) if enough(of_conv) and enough(of_fc) else None
            for u, (of_conv, of_fc) in at.items()
        }
        verdicts += [at_most(size_of(gap), claim["points"]) for gap in gaps.values()]
        name = f"d = {dim:,}" if dim else "D"
        parts.append(f"{name}: {clearest(gaps, at[scored[-1]])}")
    text = f"clearest of {len(scored)} gaps, conv − FC: " + "; ".join(parts)
    return f"{text}. {gap_of_the_post()}", all_of(verdicts)


def clearest(gaps: dict[int, Interval | None], both: Sequence[Sample]) -> str:
    """The gap that is surest to be far from zero, or else may be, with both n."""
    seeds = f"(n = {both[0].n} and {both[1].n})"
    sizes = {u: size for u, gap in gaps.items() if (size := size_of(gap)) is not None}
    if not sizes:
        return f"too few seeds {seeds}" if both[0].n and both[1].n else "not run"
    at = max(sizes, key=lambda u: (sizes[u].low, sizes[u].high))
    gap = gaps[at]
    assert gap is not None
    return f"{points(gap)} at step {at - 1:,} {seeds}"


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


def size_of(gap: Interval | None) -> Interval | None:
    """Where the absolute value lies."""
    if gap is None:
        return None
    ends = sorted((abs(gap.low), abs(gap.high)))
    return Interval(0.0 if 0.0 in gap else ends[0], ends[1])


def counts(claim: Claim, look: Look) -> Judged:
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
    trained = look(presets.tutorial("2"))
    few = ", too few seeds" if trained.n and not enough(trained) else ""
    found = (
        f"{pytorch:,} parameters, {trained.show()} under its own protocol{few}; the next is row "
        f"{smallest} with {good[smallest]:,}"
    )
    if pytorch >= good[smallest]:
        return found, FAILS
    known = trained.confidence() if enough(trained) else None
    return found, at_least(known, claim["percent"])


JUDGES: dict[str, Callable[[Claim, Look], Judged]] = {
    "within": within,
    "cost": cost,
    "beats": beats,
    "reaches": reaches,
    "alike": alike,
    "counts": counts,
}
